#include "tests/unit/proto/random_values.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <iostream>

namespace tdfs::test {

namespace {

std::uint64_t choose_seed() {
    if (const char* text = std::getenv("TDFS_SEED")) return std::strtoull(text, nullptr, 10);
    return std::random_device{}();
}

}  // namespace

Random::Random() : seed_(choose_seed()), engine_(seed_) { std::cout << "TDFS_SEED=" << seed_ << std::endl; }

std::uint64_t Random::number() {
    switch (below(4)) {
        case 0:
            return below(3);
        case 1:
            return ~std::uint64_t{0} - below(3);
        case 2:
            return std::uint64_t{1} << below(64);
        default:
            return engine_();
    }
}

std::string Random::bytes(std::size_t at_most) {
    std::string s(below(at_most + 1), '\0');
    for (auto& c : s) c = static_cast<char>(below(256));
    return s;
}

std::string Random::compressible(std::size_t at_most) {
    std::string s;
    const auto size = below(at_most + 1);
    while (s.size() < size) {
        const auto piece = bytes(20);
        for (auto n = below(30); n > 0; --n) s += piece;
    }
    s.resize(size);
    return s;
}

std::string Random::name() {
    for (;;) {
        auto s = coin() ? bytes(12) : bytes(kMaxNameBytes);
        for (auto& c : s) {
            if (c == '/' || c == '\0') c = '_';
        }
        if (is_valid_name(s) && s != kStateName) return s;
    }
}

std::string Random::path() {
    std::string s;
    for (auto n = below(5); n > 0; --n) s = join(s, name());
    return s;
}

std::string Random::xattr_name() { return "user." + name().substr(0, kMaxXattrNameBytes - 5); }

Record random_record(RecordKind kind, Random& random, Texts& texts) {
    const auto object = random.object();
    const auto path = texts.keep(random.path());
    const auto mode = static_cast<std::uint32_t>(random.below(010000));
    switch (kind) {
        case RecordKind::kCreate: {
            constexpr std::uint32_t kTypes[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
            CreateRecord r{object, path, kTypes[random.below(7)] | mode, random.number32(), random.number32()};
            r.rdev = random.number();
            r.mtime_ns = static_cast<std::int64_t>(random.number());
            if (S_ISLNK(r.mode)) r.target = as_bytes(texts.keep("t" + random.path()).substr(0, kMaxSymlinkBytes));
            return r;
        }
        case RecordKind::kLink:
            return LinkRecord{object, path, texts.keep(random.path())};
        case RecordKind::kUnlink:
            return UnlinkRecord{object, path};
        case RecordKind::kRmdir:
            return RmdirRecord{object, path};
        case RecordKind::kRename:
            return RenameRecord{object, random.object(), path, texts.keep(random.path()), random.coin()};
        case RecordKind::kWrite:
            return WriteRecord{object, path, random.file_offset(), as_bytes(texts.keep(random.bytes(5000)))};
        case RecordKind::kFallocate:
            return FallocateRecord{object, path, random.number32(), random.file_offset(), random.file_offset()};
        case RecordKind::kCopyRange:
            return CopyRangeRecord{object,
                                   texts.keep(random.path()),
                                   path,
                                   random.file_offset(),
                                   random.file_offset(),
                                   random.file_offset()};
        case RecordKind::kAttributes: {
            AttributesRecord r{object, path, static_cast<std::uint32_t>(random.below(AttributesRecord::kAll + 1))};
            r.mode = mode;
            r.uid = random.number32();
            r.gid = random.number32();
            r.size = random.file_offset();
            r.mtime_ns = static_cast<std::int64_t>(random.number());
            return r;
        }
        case RecordKind::kSetXattr: {
            const auto name = texts.keep(random.xattr_name());
            const auto value = as_bytes(texts.keep(random.bytes(300)));
            return SetXattrRecord{object, path, name, value, random.coin() ? mode : 0xffffffff};
        }
        case RecordKind::kRemoveXattr:
            return RemoveXattrRecord{object, path, texts.keep(random.xattr_name())};
        case RecordKind::kSync:
            break;
    }
    return SyncRecord{};
}

Record random_record(Random& random, Texts& texts) {
    return random_record(static_cast<RecordKind>(1 + random.below(std::variant_size_v<Record>)), random, texts);
}

Bytes damaged(ByteView bytes, Random& random) {
    auto copied = copy(bytes);
    if (copied.empty()) return copied;
    for (auto n = 1 + random.below(4); n > 0; --n) {
        copied[random.below(copied.size())] ^= static_cast<std::byte>(1U << random.below(8));
    }
    return copied;
}

}  // namespace tdfs::test
