#include "proto/record.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "proto/codec.hpp"
#include "proto/layout.hpp"

namespace tdfs {

// Hashed into format_hash() and quoted in FORMAT.md: change it with the functions below.
std::string_view record_layout() {
    return "record: kind:u8 and then\n"
           "  create=1: object mode:u32 uid:u32 gid:u32 rdev:u64 mtime:i64 path target:u16+bytes\n"
           "  link=2: object path new:path\n"
           "  unlink=3: object path\n"
           "  rmdir=4: object path\n"
           "  rename=5: object replaced:object exchange:flag path new:path\n"
           "  write=6: object offset:u64 path data:rest\n"
           "  fallocate=7: object mode:u32 offset:u64 length:u64 path\n"
           "  copy_range=8: object from_offset:u64 offset:u64 length:u64 from:path path\n"
           "  attributes=9: object valid:u32 mode:u32 uid:u32 gid:u32 size:u64 mtime:i64 path\n"
           "    valid: mode=1 uid=2 gid=4 size=8 mtime=16 settled=32\n"
           "  set_xattr=10: object mode:u32 path name value:u32+bytes\n"
           "  remove_xattr=11: object path name\n"
           "  sync=12:\n"
           "  object: ino:u64 birth_ns:u64; path: u16+bytes <= 32768; name: u16+bytes <= 255; target <= 4096;\n"
           "  value <= 65536; data <= 1048576; offset+length < 2^63\n";
}

namespace {

bool is_known_type(std::uint32_t mode) {
    switch (mode & S_IFMT) {
        case S_IFREG:
        case S_IFDIR:
        case S_IFLNK:
        case S_IFIFO:
        case S_IFSOCK:
        case S_IFCHR:
        case S_IFBLK:
            return (mode & ~std::uint32_t{S_IFMT | 07777}) == 0;
        default:
            return false;
    }
}

template <class C>
void fields(C& c, typename C::template Value<CreateRecord>& r) {
    c.object(r.object);
    c.number(r.mode);
    c.number(r.uid);
    c.number(r.gid);
    c.number(r.rdev);
    c.number(r.mtime_ns);
    c.path(r.path);
    c.short_bytes(r.target, kMaxSymlinkBytes);
    c.require(is_known_type(r.mode), "object of unknown type");
    c.require(S_ISLNK(r.mode) != r.target.empty(), "symlink without target, or target without symlink");
    c.require(std::find(r.target.begin(), r.target.end(), std::byte{0}) == r.target.end(), "target not valid");
}

template <class C>
void fields(C& c, typename C::template Value<LinkRecord>& r) {
    c.object(r.object);
    c.path(r.path);
    c.path(r.new_path);
}

template <class C>
void fields(C& c, typename C::template Value<UnlinkRecord>& r) {
    c.object(r.object);
    c.path(r.path);
}

template <class C>
void fields(C& c, typename C::template Value<RmdirRecord>& r) {
    c.object(r.object);
    c.path(r.path);
}

template <class C>
void fields(C& c, typename C::template Value<RenameRecord>& r) {
    c.object(r.object);
    c.object(r.replaced);
    c.flag(r.exchange);
    c.path(r.path);
    c.path(r.new_path);
}

template <class C>
void write_head(C& c, typename C::template Value<WriteRecord>& r) {
    c.object(r.object);
    c.number(r.offset);
    c.path(r.path);
}

template <class C>
void fields(C& c, typename C::template Value<WriteRecord>& r) {
    write_head(c, r);
    c.rest(r.data, kMaxWriteBytes);
    c.require(range_fits(r.offset, r.data.size()), kBeyond);
}

template <class C>
void fields(C& c, typename C::template Value<FallocateRecord>& r) {
    c.object(r.object);
    c.number(r.mode);
    c.number(r.offset);
    c.number(r.length);
    c.path(r.path);
    c.require(range_fits(r.offset, r.length), kBeyond);
}

template <class C>
void fields(C& c, typename C::template Value<CopyRangeRecord>& r) {
    c.object(r.object);
    c.number(r.from_offset);
    c.number(r.offset);
    c.number(r.length);
    c.path(r.from_path);
    c.path(r.path);
    c.require(range_fits(r.offset, r.length) && range_fits(r.from_offset, r.length), kBeyond);
}

template <class C>
void fields(C& c, typename C::template Value<AttributesRecord>& r) {
    c.object(r.object);
    c.number(r.valid);
    c.number(r.mode);
    c.number(r.uid);
    c.number(r.gid);
    c.number(r.size);
    c.number(r.mtime_ns);
    c.path(r.path);
    c.require((r.valid & ~AttributesRecord::kAll) == 0, "attributes of unknown kinds");
    c.require(!(r.valid & AttributesRecord::kMode) || r.mode <= 07777, "mode not valid");
    c.require(r.size <= kMaxFileBytes, kBeyond);
}

template <class C>
void fields(C& c, typename C::template Value<SetXattrRecord>& r) {
    c.object(r.object);
    c.number(r.mode);
    c.path(r.path);
    c.xattr_name(r.name);
    c.long_bytes(r.value, kMaxXattrValueBytes);
    c.require(r.mode <= 07777 || r.mode == 0xffffffff, "mode not valid");
}

template <class C>
void fields(C& c, typename C::template Value<RemoveXattrRecord>& r) {
    c.object(r.object);
    c.path(r.path);
    c.xattr_name(r.name);
}

template <class C>
void fields(C& /*c*/, typename C::template Value<SyncRecord>& /*r*/) {}

template <class R>
Result<Record, DecodeError> decode_as(Decoder& decoder) {
    R record;
    fields(decoder, record);
    return decoder.finish(Record(record));
}

// Room for `n` more bytes, growing geometrically as push_back would.
void reserve_more(Bytes& out, std::size_t n) {
    const auto needed = out.size() + n;
    if (needed > out.capacity()) out.reserve(std::max(needed, 2 * out.capacity()));
}

constexpr std::size_t kFixedBytesAtMost = 64;  // of any record, its kind and the lengths of its texts included

}  // namespace

RecordKind kind_of(const Record& r) {
    static_assert(std::variant_size_v<Record> == static_cast<std::size_t>(RecordKind::kSync));
    static_assert(std::is_same_v<std::variant_alternative_t<5, Record>, WriteRecord>);
    return static_cast<RecordKind>(r.index() + 1);
}

void encode_record(const Record& r, Bytes& out) {
    if (const auto* write = std::get_if<WriteRecord>(&r)) {
        reserve_more(out, kFixedBytesAtMost + write->path.size() + write->data.size());
    }
    Encoder encoder(out);
    encoder.number(static_cast<std::uint8_t>(kind_of(r)));
    std::visit([&](const auto& record) { fields(encoder, record); }, r);
}

void encode_write_head(const WriteRecord& r, Bytes& out) {
    reserve_more(out, kFixedBytesAtMost + r.path.size());
    Encoder encoder(out);
    encoder.number(static_cast<std::uint8_t>(RecordKind::kWrite));
    write_head(encoder, r);
}

Result<Record, DecodeError> decode_record(ByteView payload) {
    if (payload.empty()) return bad("empty record");
    Decoder decoder(payload.subspan(1));
    switch (static_cast<RecordKind>(payload.front())) {
        case RecordKind::kCreate:
            return decode_as<CreateRecord>(decoder);
        case RecordKind::kLink:
            return decode_as<LinkRecord>(decoder);
        case RecordKind::kUnlink:
            return decode_as<UnlinkRecord>(decoder);
        case RecordKind::kRmdir:
            return decode_as<RmdirRecord>(decoder);
        case RecordKind::kRename:
            return decode_as<RenameRecord>(decoder);
        case RecordKind::kWrite:
            return decode_as<WriteRecord>(decoder);
        case RecordKind::kFallocate:
            return decode_as<FallocateRecord>(decoder);
        case RecordKind::kCopyRange:
            return decode_as<CopyRangeRecord>(decoder);
        case RecordKind::kAttributes:
            return decode_as<AttributesRecord>(decoder);
        case RecordKind::kSetXattr:
            return decode_as<SetXattrRecord>(decoder);
        case RecordKind::kRemoveXattr:
            return decode_as<RemoveXattrRecord>(decoder);
        case RecordKind::kSync:
            return decode_as<SyncRecord>(decoder);
    }
    return bad("record of unknown kind");
}

}  // namespace tdfs
