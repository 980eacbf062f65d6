#include "proto/record.hpp"

#include <sys/stat.h>

#include "tests/support/catch.hpp"
#include "tests/unit/proto/allocation_meter.hpp"
#include "tests/unit/proto/random_values.hpp"

using namespace tdfs;

namespace {

Bytes encoded(const Record& r) {
    Bytes out;
    encode_record(r, out);
    return out;
}

bool is_refused(const Record& r) { return !decode_record(encoded(r)); }

constexpr std::uint64_t kLargest = 0x7fffffffffffffff;

}  // namespace

TEST_CASE("a record comes back as it was encoded") {
    test::Random random;
    for (int i = 0; i < 2000; ++i) {
        test::Texts texts;
        const auto record = test::random_record(random, texts);
        const auto bytes = encoded(record);
        const auto decoded = decode_record(bytes);
        CAPTURE(to_text(record));
        REQUIRE(decoded);
        CHECK(kind_of(*decoded) == kind_of(record));
        CHECK(to_text(*decoded) == to_text(record));
        CHECK(encoded(*decoded) == bytes);
    }
}

TEST_CASE("every field of a write record comes back") {
    const WriteRecord record{{1, 2}, "a/b", 3, as_bytes("data")};
    const auto bytes = encoded(record);
    const auto decoded = decode_record(bytes);
    REQUIRE(decoded);
    const auto& write = std::get<WriteRecord>(*decoded);
    CHECK(write.object == record.object);
    CHECK(write.path == "a/b");
    CHECK(write.offset == 3);
    CHECK(as_text(write.data) == "data");
}

TEST_CASE("decoding copies nothing") {
    const std::string data(kMaxWriteBytes, 'x');
    const auto bytes = encoded(WriteRecord{{1, 2}, "a/b", 0, test::view(data)});
    test::forget_allocations();
    const auto decoded = decode_record(bytes);
    const auto taken = test::largest_allocation_bytes();
    CHECK(taken == 0);
    REQUIRE(decoded);
    const auto& write = std::get<WriteRecord>(*decoded);
    CHECK(write.data.data() + write.data.size() == bytes.data() + bytes.size());
}

TEST_CASE("encoding a write takes memory once and appends") {
    const std::string data(100'000, 'x');
    Bytes out(10, std::byte{9});
    test::forget_allocations();
    encode_record(WriteRecord{{1, 2}, "a/b", 0, test::view(data)}, out);
    const auto taken = test::largest_allocation_bytes();
    CHECK(taken < 2 * data.size());
    CHECK(out[9] == std::byte{9});
    CHECK(decode_record(ByteView(out).subspan(10)));
}

TEST_CASE("a write's head and data make the record, and a shorter write is the same bytes cut") {
    const WriteRecord whole{{1, 2}, "dir/file", 4096, as_bytes("0123456789")};
    Bytes pieces;
    encode_write_head(whole, pieces);
    const auto head = pieces.size();
    pieces.insert(pieces.end(), whole.data.begin(), whole.data.end());
    CHECK(pieces == encoded(whole));
    for (std::size_t n = 0; n <= whole.data.size(); ++n) {
        auto shorter = whole;
        shorter.data = whole.data.first(n);
        CHECK(encoded(shorter) == test::copy(ByteView(pieces).first(head + n)));
        CHECK(decode_record(ByteView(pieces).first(head + n)));
    }
}

TEST_CASE("the size of a record depends on nothing but lengths") {
    test::Random random;
    for (int i = 0; i < 500; ++i) {
        test::Texts texts;
        const CreateRecord intent{{}, texts.keep(random.path()), 0, 0, 0, 0, 0, {}};
        auto result = intent;
        result.object = random.object();
        result.mode = random.number32();
        result.uid = random.number32();
        result.gid = random.number32();
        result.rdev = random.number();
        result.mtime_ns = static_cast<std::int64_t>(random.number());
        CHECK(encoded(intent).size() == encoded(result).size());

        const RenameRecord rename{{}, {}, texts.keep(random.path()), texts.keep(random.path()), false};
        auto renamed = rename;
        renamed.object = random.object();
        renamed.replaced = random.object();
        renamed.exchange = true;
        CHECK(encoded(rename).size() == encoded(renamed).size());

        const AttributesRecord none{{}, intent.path};
        AttributesRecord all{random.object(), intent.path, AttributesRecord::kAll};
        all.size = random.number();
        CHECK(encoded(none).size() == encoded(all).size());
    }
}

TEST_CASE("a record cut at any byte is refused, but for a write's data") {
    test::Random random;
    for (int i = 0; i < 100; ++i) {
        test::Texts texts;
        const auto record = test::random_record(random, texts);
        const auto whole = encoded(record);
        std::size_t head = whole.size();
        if (const auto* write = std::get_if<WriteRecord>(&record)) head -= write->data.size();
        for (std::size_t n = 0; n < head; ++n) {
            const Bytes front(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
            if (!decode_record(front)) continue;
            CAPTURE(n);
            FAIL("taken: " + to_text(record));
        }
    }
}

TEST_CASE("bytes left over are refused") {
    test::Random random;
    for (int kind = 1; kind <= 12; ++kind) {
        test::Texts texts;
        const auto record = test::random_record(static_cast<RecordKind>(kind), random, texts);
        auto bytes = encoded(record);
        bytes.push_back(std::byte{0});
        CHECK(decode_record(bytes).has_value() == (kind_of(record) == RecordKind::kWrite));
    }
}

TEST_CASE("a damaged record is refused or is another valid record") {
    test::Random random;
    for (int i = 0; i < 5000; ++i) {
        test::Texts texts;
        const auto bytes = test::damaged(encoded(test::random_record(random, texts)), random);
        const auto decoded = decode_record(bytes);
        if (decoded) CHECK(encoded(*decoded) == bytes);
    }
}

TEST_CASE("records of unknown kind are refused") {
    CHECK_FALSE(decode_record({}));
    auto bytes = encoded(UnlinkRecord{{1, 2}, "a"});
    for (int kind = 0; kind < 256; ++kind) {
        bytes[0] = static_cast<std::byte>(kind);
        if (kind == 0 || kind > 12) CHECK_FALSE(decode_record(bytes));
    }
}

TEST_CASE("paths that lead out of the tree are refused in every record") {
    for (const std::string_view path : {"..", "/etc/passwd", "a/../../b", "a//b", "a/", ".tdfs", ".tdfs/identity"}) {
        CAPTURE(path);
        CHECK(is_refused(CreateRecord{{1, 2}, path, S_IFREG | 0644}));
        CHECK(is_refused(LinkRecord{{1, 2}, path, "b"}));
        CHECK(is_refused(LinkRecord{{1, 2}, "a", path}));
        CHECK(is_refused(UnlinkRecord{{1, 2}, path}));
        CHECK(is_refused(RmdirRecord{{1, 2}, path}));
        CHECK(is_refused(RenameRecord{{1, 2}, {}, path, "b"}));
        CHECK(is_refused(RenameRecord{{1, 2}, {}, "a", path}));
        CHECK(is_refused(WriteRecord{{1, 2}, path}));
        CHECK(is_refused(FallocateRecord{{1, 2}, path}));
        CHECK(is_refused(CopyRangeRecord{{1, 2}, path, "b"}));
        CHECK(is_refused(CopyRangeRecord{{1, 2}, "a", path}));
        CHECK(is_refused(AttributesRecord{{1, 2}, path}));
        CHECK(is_refused(SetXattrRecord{{1, 2}, path, "user.a"}));
        CHECK(is_refused(RemoveXattrRecord{{1, 2}, path, "user.a"}));
    }
}

TEST_CASE("fields that no operation could have had are refused") {
    CHECK(is_refused(CreateRecord{{1, 2}, "a", 0644}));
    CHECK(is_refused(CreateRecord{{1, 2}, "a", S_IFLNK | 0777}));
    CHECK(is_refused(CreateRecord{{1, 2}, "a", S_IFREG | 0644, 0, 0, 0, 0, as_bytes("target")}));
    CHECK(is_refused(CreateRecord{{1, 2}, "a", S_IFLNK | 0777, 0, 0, 0, 0, as_bytes(std::string_view("x\0y", 3))}));
    CHECK(is_refused(WriteRecord{{1, 2}, "a", kLargest, as_bytes("x")}));
    CHECK(is_refused(WriteRecord{{1, 2}, "a", ~std::uint64_t{0}, as_bytes("x")}));
    CHECK(is_refused(FallocateRecord{{1, 2}, "a", 0, kLargest, 1}));
    CHECK(is_refused(CopyRangeRecord{{1, 2}, "a", "b", 0, kLargest, 1}));
    CHECK(is_refused(CopyRangeRecord{{1, 2}, "a", "b", kLargest, 0, 1}));
    CHECK(is_refused(AttributesRecord{{1, 2}, "a", 64}));
    CHECK(is_refused(AttributesRecord{{1, 2}, "a", AttributesRecord::kMode, 010000}));
    CHECK(is_refused(AttributesRecord{{1, 2}, "a", AttributesRecord::kSize, 0, 0, 0, kLargest + 1}));
    CHECK(is_refused(SetXattrRecord{{1, 2}, "a", ""}));
    CHECK(is_refused(SetXattrRecord{{1, 2}, "a", std::string_view("a\0b", 3)}));
    CHECK(is_refused(SetXattrRecord{{1, 2}, "a", "user.a", {}, 010000}));
    CHECK(is_refused(RemoveXattrRecord{{1, 2}, "a", ""}));

    auto rename = encoded(RenameRecord{{1, 2}, {}, "a", "b", true});
    rename[33] = std::byte{2};  // the flag
    CHECK_FALSE(decode_record(rename));
}

TEST_CASE("records at their bounds are taken, beyond them refused") {
    const std::string data(kMaxWriteBytes + 1, 'x');
    const std::string value(kMaxXattrValueBytes, 'v');
    const std::string target(kMaxSymlinkBytes, 't');
    const std::string name(kMaxXattrNameBytes, 'n');
    CHECK_FALSE(is_refused(WriteRecord{{}, "a", kLargest - kMaxWriteBytes, test::view(data).first(kMaxWriteBytes)}));
    CHECK_FALSE(is_refused(SetXattrRecord{{}, "a", name, test::view(value), 0xffffffff}));
    CHECK_FALSE(is_refused(CreateRecord{{}, "a", S_IFLNK | 0777, 0, 0, 0, 0, test::view(target)}));

    Bytes head;
    encode_write_head(WriteRecord{{}, "a"}, head);
    head.insert(head.end(), test::view(data).begin(), test::view(data).end());
    CHECK_FALSE(decode_record(head));

    auto xattr = encoded(SetXattrRecord{{}, "a", "n", test::view(value)});
    const auto too_long = static_cast<std::uint32_t>(kMaxXattrValueBytes + 1);
    std::memcpy(xattr.data() + xattr.size() - value.size() - 4, &too_long, 4);
    xattr.push_back(std::byte{0});
    CHECK_FALSE(decode_record(xattr));
}

TEST_CASE("a record's line says what happened") {
    using A = AttributesRecord;
    CHECK(to_text(CreateRecord{{}, "a/b", S_IFREG | 0644, 1000, 100}) == "create a/b file mode 0644 owner 1000:100");
    CHECK(to_text(CreateRecord{{}, "l", S_IFLNK | 0777, 0, 0, 0, 0, as_bytes("x\ny")}) ==
          "create l -> x\\x0ay symlink mode 0777 owner 0:0");
    CHECK(to_text(CreateRecord{{}, "d", S_IFCHR | 0600, 0, 0, 0x0103}) ==
          "create d character device 1:3 mode 0600 owner 0:0");
    CHECK(to_text(LinkRecord{{}, "a", "b"}) == "link a -> b");
    CHECK(to_text(UnlinkRecord{{}, "a"}) == "unlink a");
    CHECK(to_text(RmdirRecord{{}, "a"}) == "rmdir a");
    CHECK(to_text(RenameRecord{{}, {}, "a/b", "c"}) == "rename a/b -> c");
    CHECK(to_text(RenameRecord{{}, {1, 0}, "a/b", "c"}) == "rename a/b -> c (replaces)");
    CHECK(to_text(RenameRecord{{}, {1, 0}, "a/b", "c", true}) == "rename a/b -> c (exchanges)");
    CHECK(to_text(WriteRecord{{}, "a", 4096, as_bytes("four")}) == "write a offset 4096 bytes 4");
    CHECK(to_text(FallocateRecord{{}, "a", 3, 1, 2}) == "fallocate a offset 1 bytes 2 keep-size punch-hole");
    CHECK(to_text(FallocateRecord{{}, "a", 0x1000, 1, 2}) == "fallocate a offset 1 bytes 2 mode 4096");
    CHECK(to_text(CopyRangeRecord{{}, "a", "b", 1, 2, 3}) == "copy a offset 1 -> b offset 2 bytes 3");
    CHECK(to_text(A{{}, "a", A::kMode | A::kUid | A::kGid | A::kSize, 04755, 1, 2, 3}) ==
          "attributes a size 3 uid 1 gid 2 mode 4755");
    CHECK(to_text(A{{}, "", A::kMtime | A::kSettled, 0, 0, 0, 0, -1'500'000'000}) ==
          "attributes . mtime -1.500000000 (settled)");
    CHECK(to_text(SetXattrRecord{{}, "a", "user.x", as_bytes("abc")}) == "setxattr a user.x bytes 3");
    CHECK(to_text(RemoveXattrRecord{{}, "a", "user.x"}) == "removexattr a user.x");
    CHECK(to_text(SyncRecord{}) == "sync");
}
