// A state directory belongs to one daemon, one volume and one role, and says so in words before it changes anything.
#include "common/daemon/state_dir.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "common/os/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;
using tdfs::test::TempDir;

namespace {

// DIR "data", and a place "state" for a state directory elsewhere.
class Home {
  public:
    Home() {
        std::filesystem::create_directory(temp_.path() / "data");
        data_ = open("data");
    }
    OwnFd open(const std::string& name) const {
        auto fd = open_at(temp_.fd(), name, O_RDONLY | O_DIRECTORY);
        REQUIRE(fd);
        return std::move(*fd);
    }
    [[nodiscard]] auto start(Role role, bool elsewhere = false) const {
        return StateDir::open(data_.get(), "/the/data", elsewhere ? state().string() : std::string(), role);
    }
    [[nodiscard]] std::string refusal(Role role, bool elsewhere = false) const {
        const auto opened = start(role, elsewhere);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().find('\n') == std::string::npos);
        return opened.error();
    }
    [[nodiscard]] std::filesystem::path data() const { return temp_.path() / "data"; }
    [[nodiscard]] std::filesystem::path state() const { return temp_.path() / "state"; }
    [[nodiscard]] std::string text(const std::string& path) const {
        const auto raw = read_file(temp_.fd(), path, 1 << 20);
        REQUIRE(raw);
        return std::string(as_text(*raw));
    }
    void write(const std::string& dir, const std::string& name, const std::string& content) const {
        REQUIRE(replace_file(open(dir).get(), name, as_bytes(content)));
    }

  private:
    TempDir temp_;
    OwnFd data_;
};

Identity identity_of(Role role) {
    Identity identity;
    identity.role = role;
    identity.volume = VolumeId::random();
    identity.history = {{random_epoch(), Lsn(0)}};
    return identity;
}

void make_volume(const Home& home, const Identity& identity, bool elsewhere = false) {
    auto opened = home.start(identity.role, elsewhere);
    REQUIRE(opened);
    REQUIRE((*opened)->is_new());
    REQUIRE((*opened)->save(identity));
}

}  // namespace

TEST_CASE("a new state directory is private and knows nothing yet") {
    const Home home;
    const auto opened = home.start(Role::kSlave);
    REQUIRE(opened);
    CHECK((*opened)->is_new());
    CHECK((*opened)->identity().role == Role::kSlave);
    CHECK_FALSE((*opened)->identity().volume.valid());
    CHECK((stat_fd((*opened)->fd())->mode & 07777) == 0700);
    CHECK(stat_fd((*opened)->fd())->object == stat_fd((*opened)->marker_fd())->object);
}

TEST_CASE("what was saved is there at the next start, and DIR is marked") {
    for (const bool elsewhere : {false, true}) {
        CAPTURE(elsewhere);
        const Home home;
        auto identity = identity_of(Role::kMaster);
        make_volume(home, identity, elsewhere);
        {
            auto again = home.start(Role::kMaster, elsewhere);
            REQUIRE(again);
            CHECK_FALSE((*again)->is_new());
            CHECK((*again)->identity().volume == identity.volume);
            CHECK((*again)->identity().history == identity.history);
            identity.clean_stop = true;
            REQUIRE((*again)->save(identity));
            CHECK((*again)->identity().clean_stop);
        }
        CHECK_THAT(home.text("data/.tdfs/volume"), ContainsSubstring("volume " + identity.volume.text() + " master "));
        CHECK((*home.start(Role::kMaster, elsewhere))->identity().clean_stop);
    }
}

TEST_CASE("a second daemon is refused, wherever it keeps its state") {
    const Home home;
    const auto first = home.start(Role::kMaster);
    REQUIRE(first);
    CHECK_THAT(home.refusal(Role::kMaster), ContainsSubstring("/the/data: another tdfs daemon runs there"));
    CHECK_THAT(home.refusal(Role::kSlave), ContainsSubstring("another tdfs daemon runs there"));
    CHECK_THAT(home.refusal(Role::kMaster, true), ContainsSubstring("another tdfs daemon runs there"));
}

TEST_CASE("one state directory serves one daemon, whatever its DIR") {
    const Home home;
    const Home other;
    const auto first = home.start(Role::kMaster, true);
    REQUIRE(first);
    const auto data = other.open("data");
    const auto second = StateDir::open(data.get(), "/other", home.state().string(), Role::kMaster);
    REQUIRE_FALSE(second);
    CHECK_THAT(second.error(), ContainsSubstring("another tdfs daemon runs there"));
    CHECK_FALSE(std::filesystem::exists(other.data() / ".tdfs"));
}

TEST_CASE("the lock ends with its owner, so that a killed daemon leaves nothing behind") {
    const Home home;
    make_volume(home, identity_of(Role::kMaster));
    CHECK(home.start(Role::kMaster));
    CHECK(home.start(Role::kMaster));
}

TEST_CASE("a directory of the other role is refused") {
    for (const bool elsewhere : {false, true}) {
        CAPTURE(elsewhere);
        const Home slave;
        make_volume(slave, identity_of(Role::kSlave), elsewhere);
        CHECK_THAT(slave.refusal(Role::kMaster, elsewhere),
                   ContainsSubstring("/the/data is the directory of a slave") && ContainsSubstring("no promotion"));
        const Home master;
        make_volume(master, identity_of(Role::kMaster), elsewhere);
        CHECK_THAT(master.refusal(Role::kSlave, elsewhere), ContainsSubstring("is the directory of a master"));
    }
}

TEST_CASE("DIR without its marker is refused: it is not mounted") {
    const Home home;
    const auto identity = identity_of(Role::kMaster);
    make_volume(home, identity, true);
    std::filesystem::rename(home.data() / ".tdfs", home.data() / "hidden");

    CHECK(home.refusal(Role::kMaster, true) == "/the/data has no .tdfs/volume but the state in " +
                                                   home.state().string() + " belongs to volume " +
                                                   identity.volume.text() + ": is it not mounted?");
    CHECK_FALSE(std::filesystem::exists(home.data() / ".tdfs"));  // and nothing was written there

    std::filesystem::rename(home.data() / "hidden", home.data() / ".tdfs");
    CHECK(home.start(Role::kMaster, true));
}

TEST_CASE("DIR and state of two volumes are refused") {
    const Home home;
    const auto identity = identity_of(Role::kMaster);
    make_volume(home, identity, true);
    const auto other = VolumeId::random().text();
    home.write("data/.tdfs", "volume", "volume " + other + " master\n");
    CHECK_THAT(home.refusal(Role::kMaster, true),
               ContainsSubstring(other) && ContainsSubstring(identity.volume.text()));
}

TEST_CASE("a volume whose state is elsewhere is not started anew when --state-dir is forgotten") {
    const Home home;
    make_volume(home, identity_of(Role::kMaster), true);
    CHECK_THAT(home.refusal(Role::kMaster), ContainsSubstring("--state-dir"));
    CHECK(home.start(Role::kMaster, true));
}

TEST_CASE("of a damaged identity and its marker each is made good by the other, and without both it is refused") {
    const Home home;
    const auto identity = identity_of(Role::kSlave);
    make_volume(home, identity);
    const auto good = home.text("data/.tdfs/identity.json");
    const auto line = home.text("data/.tdfs/volume");

    home.write("data/.tdfs", "identity.json", "{\"format\":");
    {
        auto opened = home.start(Role::kSlave);
        REQUIRE(opened);
        CHECK((*opened)->healed().size() == 1);
        CHECK((*opened)->identity().volume == identity.volume);
        CHECK((*opened)->identity().history.empty());
        CHECK((*opened)->identity().resyncing);
        CHECK((*opened)->identity().unsure);
    }
    CHECK(home.refusal(Role::kMaster) != "");
    home.write("data/.tdfs", "identity.json", good);
    home.write("data/.tdfs", "volume", "volume\n");
    {
        auto opened = home.start(Role::kSlave);
        REQUIRE(opened);
        CHECK((*opened)->healed().size() == 1);
        REQUIRE((*opened)->save((*opened)->identity()));
    }
    CHECK(home.text("data/.tdfs/volume") == line);

    home.write("data/.tdfs", "identity.json", "{\"format\":");
    home.write("data/.tdfs", "volume", "volume\n");
    CHECK_THAT(home.refusal(Role::kSlave), ContainsSubstring("/the/data/.tdfs/identity.json is damaged"));
    CHECK(home.text("data/.tdfs/identity.json") == "{\"format\":");
    CHECK(home.text("data/.tdfs/volume") == "volume\n");
}

TEST_CASE(
    "where the state is elsewhere a damaged marker is not written over, and the refusal says what belongs there") {
    const Home home;
    make_volume(home, identity_of(Role::kMaster), true);
    const auto line = home.text("data/.tdfs/volume");
    home.write("data/.tdfs", "volume", "volume\n");
    CHECK_THAT(home.refusal(Role::kMaster, true), ContainsSubstring(line.substr(0, line.size() - 1)));
    CHECK(home.text("data/.tdfs/volume") == "volume\n");
}

TEST_CASE("a crash between the writes of the first save is no damage") {
    const Home home;
    const auto identity = identity_of(Role::kMaster);
    make_volume(home, identity, true);
    auto text = home.text("state/identity.json");
    const std::string marked = "\"marked\": true";
    text.replace(text.find(marked), marked.size(), "\"marked\": false");
    text.replace(text.find("\"checksum\""), 10, "\"not used\"");
    home.write("state", "identity.json", text);
    std::filesystem::remove(home.data() / ".tdfs" / "volume");

    auto opened = home.start(Role::kMaster, true);
    REQUIRE(opened);
    CHECK((*opened)->identity().volume == identity.volume);
    REQUIRE((*opened)->save((*opened)->identity()));
    CHECK_THAT(home.text("data/.tdfs/volume"), ContainsSubstring("volume " + identity.volume.text() + " master "));
}

TEST_CASE("a slave gets its volume later, and keeps it") {
    const Home home;
    auto identity = identity_of(Role::kSlave);
    const auto volume = identity.volume;
    identity.volume = VolumeId();
    make_volume(home, identity, true);
    {
        auto opened = home.start(Role::kSlave, true);
        REQUIRE(opened);
        identity.volume = volume;
        REQUIRE((*opened)->save(identity));
    }
    CHECK((*home.start(Role::kSlave, true))->identity().volume == volume);
    CHECK_THAT(home.text("data/.tdfs/volume"), ContainsSubstring("volume " + volume.text() + " slave "));
}

TEST_CASE("what stands in the way of a state directory is named") {
    const Home home;
    home.write("data", ".tdfs", "a file");
    CHECK_THAT(home.refusal(Role::kMaster), ContainsSubstring("/the/data/.tdfs"));

    const Home other;
    const auto data = other.open("data");
    const auto opened = StateDir::open(data.get(), "/the/data", "/no/such/place/state", Role::kMaster);
    REQUIRE_FALSE(opened);
    CHECK_THAT(opened.error(), ContainsSubstring("/no/such/place/state: No such file or directory"));
}
