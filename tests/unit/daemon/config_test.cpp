#include "common/daemon/config.hpp"

#include <fstream>

#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using namespace tdfs::test;

namespace {

struct File {
    TempDir dir;
    std::string path = (dir.path() / "tdfs.toml").string();
    explicit File(const std::string& text) { std::ofstream(path) << text; }
};

auto arguments(const std::string& text, const std::string& on_the_command_line = "") {
    const File file(text);
    auto found = config_arguments(file.path, [&](std::string_view name) { return name == on_the_command_line; });
    return found ? std::move(*found) : std::vector<std::string>{found.error().substr(file.path.size())};
}

using List = std::vector<std::string>;

}  // namespace

TEST_CASE("a file of options is the command line it stands for") {
    CHECK(arguments("directory = '/a b'\ncompress = 1\nforeground = true\nno-nodelay = false\nslave = ['x', 'y:1']") ==
          List{"--compress=1", "--directory=/a b", "--foreground", "--slave=x", "--slave=y:1"});
    CHECK(arguments("") == List{});
}

TEST_CASE("what the command line says is left out of the file") {
    CHECK(arguments("slave = ['x', 'y']\ncompress = 1", "slave") == List{"--compress=1"});
}

TEST_CASE("what is wrong in a file of options is said with its place") {
    CHECK(arguments("compress = 1\nslave = [").front().substr(0, 3) == ":2:");
    CHECK(arguments("\n\nslave = [['x']]").front() ==
          ":3: slave: a text, a number, true or false, or a list of texts is wanted");
    CHECK(arguments("[slave]\nx = 1").front() ==
          ":1: slave: a text, a number, true or false, or a list of texts is wanted");
    CHECK(arguments("m = '/a'").front() == ":1: \"m\": the long name of the option is wanted");
    CHECK(arguments("config = 'x'").front() == ":1: a file cannot name another (config)");
}

TEST_CASE("a file of options that is not there is named") {
    const auto found = config_arguments("/no/such.toml", [](std::string_view) { return false; });
    REQUIRE_FALSE(found);
    CHECK(found.error().substr(0, 14) == "/no/such.toml:");
}
