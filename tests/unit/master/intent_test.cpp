// What a killed master left in flight, for each kind of operation: killed before its effect, and after it.
#include "master/intent.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/os/file.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;
using tdfs::test::TempDir;

namespace {
struct Backing {
    TempDir dir;
    void file(const char* name, std::string_view text = "content") const {
        const OwnFd fd(::openat(dir.fd(), name, O_WRONLY | O_CREAT | O_TRUNC, 0644));
        REQUIRE(write_all(fd.get(), as_bytes(text), 0));
    }
    [[nodiscard]] std::uint64_t ino(const char* name) const {
        const auto info = stat_at(dir.fd(), name);
        return info ? info->object.ino : 0;
    }
    // The record that recovery finds for `r` in flight; "" if it finds that nothing happened.
    [[nodiscard]] std::string resolve(const Record& r, std::uint64_t ino = 0, std::uint64_t other = 0) {
        Bytes encoded;
        std::uint32_t data = 0;
        if (const auto* w = std::get_if<WriteRecord>(&r)) {
            encode_write_head(*w, encoded);
            data = static_cast<std::uint32_t>(w->data.size());
        } else {
            encode_record(r, encoded);
        }
        InFlight f;
        encode_intent({ino, other, data, r}, encoded, f.intent);
        payload = *resolve_intent(dir.fd(), f);
        if (payload.empty()) return "";
        const auto record = decode_record(payload);
        REQUIRE(record);
        found = *record;
        return to_text(*record);
    }
    Bytes payload;
    Record found;
};
}  // namespace

TEST_CASE("a creation in flight is found by its name, and recorded as it stands") {
    Backing b;
    CreateRecord r;
    r.path = "new";
    r.mode = S_IFREG | 0600;
    CHECK(b.resolve(r) == "");
    b.file("new");
    CHECK(b.resolve(r) != "");
    CHECK(std::get<CreateRecord>(b.found).mode == (S_IFREG | 0644));
    CHECK(std::get<CreateRecord>(b.found).object.ino == b.ino("new"));
}

TEST_CASE("a removal in flight is done when the name is gone or somebody else's") {
    Backing b;
    b.file("f");
    const std::uint64_t ino = b.ino("f");
    CHECK(b.resolve(UnlinkRecord{{ino, 0}, "f"}, ino) == "");
    REQUIRE(::unlinkat(b.dir.fd(), "f", 0) == 0);
    CHECK(b.resolve(UnlinkRecord{{ino, 0}, "f"}, ino) != "");
    REQUIRE(::mkdirat(b.dir.fd(), "d", 0755) == 0);
    const std::uint64_t d = b.ino("d");
    CHECK(b.resolve(RmdirRecord{{d, 0}, "d"}, d) == "");
    REQUIRE(::unlinkat(b.dir.fd(), "d", AT_REMOVEDIR) == 0);
    CHECK(b.resolve(RmdirRecord{{d, 0}, "d"}, d) != "");
}

TEST_CASE("a link in flight is done when the new name has the inode") {
    Backing b;
    b.file("f");
    const std::uint64_t ino = b.ino("f");
    CHECK(b.resolve(LinkRecord{{ino, 0}, "f", "g"}, ino) == "");
    b.file("g");
    CHECK(b.resolve(LinkRecord{{ino, 0}, "f", "g"}, ino) == "");
    REQUIRE(::unlinkat(b.dir.fd(), "g", 0) == 0);
    REQUIRE(::linkat(b.dir.fd(), "f", b.dir.fd(), "g", 0) == 0);
    CHECK(b.resolve(LinkRecord{{ino, 0}, "f", "g"}, ino) != "");
}

TEST_CASE("a rename in flight is told by inode numbers, also over an existing name and as an exchange") {
    Backing b;
    b.file("a");
    b.file("b");
    const std::uint64_t a = b.ino("a"), other = b.ino("b");
    const RenameRecord over{{a, 0}, {other, 0}, "a", "b", false};
    CHECK(b.resolve(over, a, other) == "");
    const RenameRecord swap{{a, 0}, {other, 0}, "a", "b", true};
    CHECK(b.resolve(swap, a, other) == "");
    REQUIRE(::renameat2(b.dir.fd(), "a", b.dir.fd(), "b", RENAME_EXCHANGE) == 0);
    CHECK(b.resolve(swap, a, other) != "");
    REQUIRE(::renameat2(b.dir.fd(), "a", b.dir.fd(), "b", RENAME_EXCHANGE) == 0);
    REQUIRE(::renameat(b.dir.fd(), "a", b.dir.fd(), "b") == 0);
    CHECK(b.resolve(over, a, other) != "");
}

TEST_CASE("a write in flight that was not carried out does not fill a hole") {
    Backing b;
    b.file("f", "beginning");
    const OwnFd fd(::openat(b.dir.fd(), "f", O_WRONLY));
    REQUIRE(::ftruncate(fd.get(), 100'000) == 0);
    const std::string data(20'000, 'd');
    const WriteRecord r{{}, "f", 40'000, as_bytes(data)};
    CHECK(b.resolve(r, b.ino("f")) == "write f offset 40000 bytes 0");
    REQUIRE(write_all(fd.get(), as_bytes(std::string(9000, 'd')), 40'000));  // in part
    REQUIRE(b.resolve(r, b.ino("f")) != "");
    CHECK(std::get<WriteRecord>(b.found).data.size() >= 9000);
    CHECK(std::get<WriteRecord>(b.found).data.size() < 9000 + 4096);
}

TEST_CASE("a write in flight is recorded as the bytes that are there now") {
    Backing b;
    b.file("f", "0123456789");
    const std::uint64_t ino = b.ino("f");
    const std::string data(6, 'x');
    CHECK(b.resolve(WriteRecord{{ino, 0}, "f", 7, as_bytes(data)}, ino) != "");
    CHECK(as_text(std::get<WriteRecord>(b.found).data) == "789");
    CHECK(b.resolve(WriteRecord{{ino, 0}, "f", 20, as_bytes(data)}, ino) == "write f offset 20 bytes 0");
    CHECK(b.resolve(WriteRecord{{ino + 1, 0}, "f", 0, as_bytes(data)}, ino + 1) == "");
}

TEST_CASE("what cannot be repeated is recorded as a write of nothing: it may have changed the time") {
    Backing b;
    b.file("f", "content");
    const std::uint64_t ino = b.ino("f");
    CHECK(b.resolve(FallocateRecord{{ino, 0}, "f", 0xffff, 3, 9000}, ino) == "write f offset 3 bytes 0");
    b.file("empty", "");
    const CopyRangeRecord nothing{{ino, 0}, "empty", "f", 0, 5, 100};
    CHECK(b.resolve(nothing, ino, b.ino("empty")) == "write f offset 5 bytes 0");
    CHECK(b.resolve(FallocateRecord{{ino + 1, 0}, "f", 0xffff, 3, 9000}, ino + 1) == "");
}

TEST_CASE("what can be repeated is carried out to its end") {
    Backing b;
    b.file("f", std::string(10'000, 'x'));
    const std::uint64_t ino = b.ino("f");
    AttributesRecord r;
    r.path = "f";
    r.valid = AttributesRecord::kMode | AttributesRecord::kSize | AttributesRecord::kMtime | AttributesRecord::kUid;
    r.mode = 0600;
    r.size = 5000;
    r.uid = 77;
    r.mtime_ns = 1'000'000'007;
    CHECK(b.resolve(r, ino) != "");
    const auto info = stat_at(b.dir.fd(), "f").value();
    CHECK((info.mode & 07777) == 0600);
    CHECK(info.size == 5000);
    CHECK(info.uid == 77);
    CHECK(info.mtime_ns == 1'000'000'007);
    CHECK(b.resolve(FallocateRecord{{ino, 0}, "f", 0, 0, 9000}, ino) != "");
    CHECK(stat_at(b.dir.fd(), "f").value().size == 9000);
    const std::string value = "v";
    CHECK(b.resolve(SetXattrRecord{{ino, 0}, "f", "user.k", as_bytes(value), 0}, ino) != "");
    CHECK(b.resolve(RemoveXattrRecord{{ino, 0}, "f", "user.k"}, ino) != "");
    CHECK(b.resolve(RemoveXattrRecord{{ino, 0}, "f", "user.k"}, ino) != "");
    b.file("src", "abcdef");
    CHECK(b.resolve(CopyRangeRecord{{ino, 0}, "src", "f", 2, 0, 100}, ino, b.ino("src")) != "");
    CHECK(std::get<CopyRangeRecord>(b.found).length == 4);
}

TEST_CASE("an intent that cannot be read is void, not guessed at") {
    TempDir dir;
    InFlight f;
    f.intent = Bytes(13, std::byte{0xff});
    CHECK(resolve_intent(dir.fd(), f)->empty());
}
