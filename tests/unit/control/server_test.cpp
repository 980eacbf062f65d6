// The control server: whatever clients do, it answers, stays bounded and ends when told.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <list>

#include "tests/unit/control/fake_daemon.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;
using nlohmann::json;
using tdfs::test::await;
using tdfs::test::FakeDaemon;
using tdfs::test::TempDir;

namespace {

class Raw {
  public:
    explicit Raw(int dir, const std::string& name = kControlSocketName) {
        auto fd = connect_to(dir, name);
        REQUIRE(fd);
        fd_ = std::move(*fd);
        reader_ = std::make_unique<LineReader>(fd_.get(), kMaxControlLineBytes);
    }
    void send(const std::string& text) const {
        for (std::size_t sent = 0; sent < text.size();) {
            const auto n = ::send(fd_.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (n < 0) return;  // the server may have had enough already
            sent += static_cast<std::size_t>(n);
        }
    }
    json read() {
        const auto line = reader_->next(-1);
        REQUIRE(line);
        return *line ? json::parse(**line) : json();
    }
    json ask(const json& command) {
        send(command.dump() + "\n");
        return read();
    }
    void close() { fd_.reset(); }
    void close_sending() const { ::shutdown(fd_.get(), SHUT_WR); }

  private:
    OwnFd fd_;
    std::unique_ptr<LineReader> reader_;
};

json echo(const std::string& text) { return {{"cmd", "echo"}, {"text", text}}; }

ControlHandler silent() {
    return [](const ControlRequest&) { return json{{"ok", true}}; };
}

}  // namespace

TEST_CASE("a client asks as often as it likes on one connection") {
    FakeDaemon daemon;
    Raw client(daemon.state());
    for (int i = 0; i < 100; ++i) CHECK(client.ask(echo(std::to_string(i)))["text"] == std::to_string(i));
    client.send(echo("a").dump() + "\n" + echo("b").dump() + "\n");  // two at once
    CHECK(client.read()["text"] == "a");
    CHECK(client.read()["text"] == "b");
}

TEST_CASE("the socket is for its owner alone, and gone when the server is") {
    FakeDaemon daemon;
    const auto info = stat_at(daemon.state(), kControlSocketName);
    REQUIRE(info);
    CHECK((info->mode & 07777) == 0600);
    daemon.stop();
    CHECK_FALSE(stat_at(daemon.state(), kControlSocketName));
}

TEST_CASE("garbage is answered in words and the connection goes on") {
    FakeDaemon daemon;
    Raw client(daemon.state());
    for (const std::string garbage :
         {"", "x", "[1,2]", "42", "{\"cmd\":", "{}", "{\"cmd\":7}", "\xff\xfe{}", "{\"cmd\":\"echo\"}",
          "{\"cmd\":\"echo\",\"text\":5}", "{\"cmd\":\"no such thing\"}"}) {
        CAPTURE(garbage);
        client.send(garbage + "\n");
        const auto answer = client.read();
        CHECK(answer["code"] == 1);
        CHECK(answer["error"].is_string());
    }
    client.send(std::string(100'000, '[') + "\n");
    CHECK(client.read()["code"] == 1);
    CHECK(client.ask(echo("still here"))["text"] == "still here");
}

TEST_CASE("a line above the limit ends the connection with a word, one below is read") {
    FakeDaemon daemon;
    Raw below(daemon.state());
    const std::string text(kMaxControlLineBytes - 100, 'x');
    CHECK(below.ask(echo(text))["text"] == text);

    Raw above(daemon.state());
    above.send(std::string(kMaxControlLineBytes + 100'000, 'x'));
    CHECK_THAT(above.read()["error"].get<std::string>(), ContainsSubstring("1 MiB"));
    CHECK(above.read().is_null());
    CHECK(below.ask(echo("a"))["text"] == "a");
}

TEST_CASE("a text that is no UTF-8 travels as something that is JSON") {
    FakeDaemon daemon({{"ok", true}, {"name", "caf\xe9"}});
    Raw client(daemon.state());
    CHECK(client.ask({{"cmd", "status"}})["name"] == "caf\xEF\xBF\xBD");
}

TEST_CASE("lines come before the answer") {
    FakeDaemon daemon;
    Raw client(daemon.state());
    client.send("{\"cmd\":\"log\"}\n");
    for (int i = 0; i < 3; ++i) CHECK(client.read()["line"] == "record " + std::to_string(i));
    CHECK(client.read()["ok"] == true);
}

TEST_CASE("a handler learns that its client has hung up") {
    FakeDaemon daemon;
    Raw client(daemon.state());
    client.send("{\"cmd\":\"wait\"}\n");
    await([&] { return daemon.waiting() == 1; });
    client.close();
    await([&] { return daemon.cancelled() == 1; });
}

TEST_CASE("a client that only ends its sending still gets its answer") {
    FakeDaemon daemon;
    Raw client(daemon.state());
    client.send("{\"cmd\":\"log\"}\n");
    client.close_sending();
    for (int i = 0; i < 3; ++i) CHECK(client.read().contains("line"));
    CHECK(client.read()["ok"] == true);
    CHECK(client.read().is_null());
}

TEST_CASE("stopping ends handlers that wait, clients that are silent and clients that do not read") {
    FakeDaemon daemon;
    Raw waiting(daemon.state());
    waiting.send("{\"cmd\":\"wait\"}\n");
    const Raw silent_client(daemon.state());
    const Raw deaf(daemon.state());
    std::string many;
    for (int i = 0; i < 20'000; ++i) many += "{\"cmd\":\"log\"}\n";
    std::thread sender([&] { deaf.send(many); });
    await([&] { return daemon.waiting() == 1; });
    daemon.stop();
    sender.join();
    CHECK(daemon.cancelled() == 1);
}

TEST_CASE("sixty-four clients are served at once, the next is told so, and there is room when one has gone") {
    FakeDaemon daemon;
    std::list<Raw> clients;
    for (std::size_t i = 0; i < kMaxControlClients; ++i) {
        clients.emplace_back(daemon.state());
        CHECK(clients.back().ask(echo("x"))["text"] == "x");
    }
    for (int i = 0; i < 5; ++i) {
        Raw extra(daemon.state());
        CHECK_THAT(extra.read()["error"].get<std::string>(), ContainsSubstring("too many"));
        CHECK(extra.read().is_null());
    }
    for (auto& client : clients) CHECK(client.ask(echo("y"))["text"] == "y");
    clients.pop_front();
    await([&] {
        Raw again(daemon.state());
        return again.ask(echo("z")).value("text", "") == "z";
    });
}

TEST_CASE("many clients come and go at once") {
    FakeDaemon daemon;
    std::vector<std::thread> threads;
    std::atomic<int> answered = 0;
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 50; ++i) {
                const auto fd = connect_to(daemon.state(), kControlSocketName);
                if (!fd || !send_line(fd->get(), echo("x"))) continue;
                LineReader reader(fd->get(), kMaxControlLineBytes);
                const auto line = reader.next(-1);
                if (line && *line) ++answered;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(answered == 400);
}

TEST_CASE("a dead socket is replaced, a living one and another file are not") {
    const TempDir temp;
    {
        const auto address = socket_address(temp.fd(), "control");
        REQUIRE(address);
        const OwnFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0);
    }
    auto first = ControlServer::listen({{temp.fd(), "control"}}, silent());
    REQUIRE(first);
    const auto second = ControlServer::listen({{temp.fd(), "control"}}, silent());
    REQUIRE_FALSE(second);
    CHECK_THAT(second.error(), ContainsSubstring((temp.path() / "control").string() + ": another process listens"));
    CHECK(connect_to(temp.fd(), "control"));

    REQUIRE(replace_file(temp.fd(), "file", as_bytes("x")));
    const auto third = ControlServer::listen({{temp.fd(), "file"}}, silent());
    REQUIRE_FALSE(third);
    CHECK_THAT(third.error(), ContainsSubstring("no socket"));
    CHECK(stat_at(temp.fd(), "file")->is_regular());
}

TEST_CASE("two places lead to one server, however long the path of one is") {
    const TempDir temp;
    auto deep = temp.path();
    for (int i = 0; i < 5; ++i) deep /= std::string(200, 'd');
    std::filesystem::create_directories(deep);
    auto long_dir = open_at(AT_FDCWD, deep.string(), O_RDONLY | O_DIRECTORY);
    REQUIRE(long_dir);

    const auto server = ControlServer::listen({{temp.fd(), "a"}, {long_dir->get(), "b.sock"}}, silent());
    REQUIRE(server);
    CHECK(Raw(temp.fd(), "a").ask({{"cmd", "x"}})["ok"] == true);
    CHECK(Raw(long_dir->get(), "b.sock").ask({{"cmd", "x"}})["ok"] == true);
    (*server)->stop();
    CHECK_FALSE(stat_at(temp.fd(), "a"));
    CHECK_FALSE(stat_at(long_dir->get(), "b.sock"));
}

TEST_CASE("a socket in the run directory is named after the directory") {
    CHECK(run_socket_name("/srv/data") == run_socket_name("/srv/data"));
    CHECK(run_socket_name("/srv/data") != run_socket_name("/srv/datb"));
    CHECK(run_socket_name("").size() == 16 + 5);
    CHECK(run_socket_name("/srv/data").find_first_not_of("0123456789abcdef") == 16);
}
