#include "master/intent.hpp"

#include <fcntl.h>

#include <spdlog/spdlog.h>

#include "common/os/file.hpp"
#include "master/effects.hpp"

namespace tdfs {

void encode_intent(const Intent& intent, ByteView encoded_record, Bytes& out) {
    ByteWriter w(out);
    w.put(intent.ino);
    w.put(intent.other_ino);
    w.put(intent.data_bytes);
    w.put_bytes(encoded_record);
}

namespace {
// The head of a write record is followed by data_bytes bytes that were not kept: zeros stand in for the decoder.
Result<Intent, DecodeError> decode_into(ByteView bytes, Bytes& record_bytes) {
    ByteReader in(bytes);
    Intent intent;
    intent.ino = in.get<std::uint64_t>();
    intent.other_ino = in.get<std::uint64_t>();
    intent.data_bytes = in.get<std::uint32_t>();
    if (!in.ok() || intent.data_bytes > kMaxWriteBytes) return bad("intent: short or too long");
    const ByteView rest = in.get_bytes(in.remaining());
    record_bytes.assign(rest.begin(), rest.end());
    record_bytes.resize(rest.size() + intent.data_bytes);
    auto record = decode_record(record_bytes);
    if (!record) return bad(record.error().what);
    intent.record = *record;
    return intent;
}

// What stands at a name. An error of the machine is kept: nothing that was seen counts then.
class Names {
  public:
    explicit Names(int at) : root(at) {}
    const int root;
    // 0: nothing there.
    [[nodiscard]] std::uint64_t ino(std::string_view path) const {
        const auto info = stat(path);
        return info ? info->object.ino : 0;
    }
    [[nodiscard]] SysResult<FileInfo> stat(std::string_view path) const {
        auto parent = open_parent_beneath(root, path);
        if (!parent) return met(parent.error());
        auto info = stat_at(parent->get(), std::string(leaf_of(path)));
        return info ? info : met(info.error());
    }
    Unexpected<Errno> met(Errno e) const {
        if (is_trouble(e)) trouble_ = e;
        return fail(e);
    }
    [[nodiscard]] Errno trouble() const { return trouble_; }

  private:
    mutable Errno trouble_{0};
};

template <class R>
constexpr bool kSetsTimeFirst =
    std::is_same_v<R, WriteRecord> || std::is_same_v<R, FallocateRecord> || std::is_same_v<R, CopyRangeRecord>;

// Each returns whether the operation is (now) done, with its results filled in.
class WasDone {
  public:
    WasDone(int root, const Intent& intent, Bytes& data) : names_(root), intent_(intent), data_(data) {}

    bool operator()(CreateRecord& r) const {
        const auto info = names_.stat(r.path);
        if (!info) return false;
        r.object = info->object;
        r.mode = info->mode;
        r.uid = info->uid;
        r.gid = info->gid;
        r.mtime_ns = info->mtime_ns;
        return true;
    }
    bool operator()(LinkRecord& r) const { return names_.ino(r.new_path) == intent_.ino; }
    bool operator()(UnlinkRecord& r) const { return names_.ino(r.path) != intent_.ino; }
    bool operator()(RmdirRecord& r) const { return names_.ino(r.path) != intent_.ino; }
    bool operator()(RenameRecord& r) const {
        if (names_.ino(r.new_path) != intent_.ino) return false;
        return r.exchange ? names_.ino(r.path) == intent_.other_ino : names_.ino(r.path) != intent_.ino;
    }
    // A write fills its range from the beginning, so what it did ends at the first hole. Beyond, zeros in a record would only
    // allocate on the replicas what is a hole here.
    bool operator()(WriteRecord& r) const {
        const auto fd = object(r.path, O_RDONLY);
        if (!fd) return false;
        std::uint64_t bytes = 0;
        const auto first = [&](std::uint64_t, std::uint64_t length, bool is_data) {
            if (is_data) bytes = length;
            return false;
        };
        const auto visited = visit_extents(fd->get(), r.offset, r.offset + intent_.data_bytes, first);
        if (!did(visited) || bytes == 0) return false;
        data_.resize(bytes);
        const auto read = read_some(fd->get(), data_, r.offset);
        if (!did(read) || *read == 0) return false;
        data_.resize(*read);
        r.data = data_;
        return true;
    }
    bool operator()(FallocateRecord& r) const {
        const auto fd = object(r.path, O_WRONLY);
        return fd && did(effects::fallocate(fd->get(), r));
    }
    bool operator()(CopyRangeRecord& r) const {
        const auto from = open_beneath(names_.root, r.from_path, O_RDONLY | O_NOFOLLOW);
        const auto to = object(r.path, O_WRONLY);
        if (!did(from) || !to) return false;
        const auto copied = effects::copy_range(from->get(), to->get(), r);
        if (!did(copied) || *copied == 0) return false;
        r.length = *copied;
        return true;
    }
    bool operator()(AttributesRecord& r) const {
        const auto fd = object(r.path, O_PATH);
        return fd && did(effects::set_attributes(fd->get(), r));
    }
    bool operator()(SetXattrRecord& r) const {
        const auto fd = object(r.path, O_PATH);
        if (!fd || !did(set_xattr(fd->get(), std::string(r.name), r.value))) return false;
        const auto info = stat_fd(fd->get());
        r.mode = info ? info->mode & 07777 : 0xffffffff;
        return true;
    }
    bool operator()(RemoveXattrRecord& r) const {
        const auto fd = object(r.path, O_PATH);
        if (!fd) return false;
        const auto removed = remove_xattr(fd->get(), std::string(r.name));
        return did(removed) || removed.error() == Errno(ENODATA);
    }
    bool operator()(SyncRecord&) const { return false; }

    // What was not done may have been begun: file systems set a file's time before they write to it.
    [[nodiscard]] std::optional<WriteRecord> begun(const Record& r) const {
        return std::visit(
            [this](const auto& one) -> std::optional<WriteRecord> {
                if constexpr (kSetsTimeFirst<std::decay_t<decltype(one)>>) {
                    if (object(one.path, O_PATH)) return effects::write_of_nothing(one);
                }
                return std::nullopt;
            },
            r);
    }

    [[nodiscard]] Errno trouble() const { return names_.trouble(); }

  private:
    template <class T>
    [[nodiscard]] bool did(const SysResult<T>& result) const {
        if (!result) static_cast<void>(names_.met(result.error()));
        return result.has_value();
    }
    // The object the operation was about, if it still stands at its path.
    [[nodiscard]] SysResult<OwnFd> object(std::string_view path, int flags) const {
        auto fd = open_beneath(names_.root, path, flags | O_NOFOLLOW | ((flags & O_PATH) != 0 ? 0 : O_NONBLOCK));
        if (!did(fd)) return fd;
        const auto info = stat_fd(fd->get());
        if (!did(info)) return fail(info.error());
        if (info->object.ino != intent_.ino) return fail(ESTALE);
        return fd;
    }
    Names names_;
    const Intent& intent_;
    Bytes& data_;
};
}  // namespace

Result<Intent, DecodeError> decode_intent(ByteView bytes) {
    static thread_local Bytes record_bytes;  // the views of the result point here until the next call of this thread
    return decode_into(bytes, record_bytes);
}

SysResult<Bytes> resolve_intent(int root, const InFlight& in_flight) {
    Bytes payload;
    if (in_flight.intent.empty()) return payload;  // a record without an effect
    auto intent = decode_intent(in_flight.intent);
    if (!intent) {
        spdlog::error("recovery lsn={} result=void reason=\"{}\"", in_flight.lsn.bytes(), intent.error().what);
        return payload;
    }
    Bytes data;
    Record record = intent->record;
    const WasDone was_done(root, *intent, data);
    const bool done = std::visit(was_done, record);
    const auto begun = done ? std::nullopt : was_done.begun(record);
    if (was_done.trouble() != Errno(0)) return fail(was_done.trouble());
    spdlog::info("recovery lsn={} operation=\"{}\" done={}", in_flight.lsn.bytes(), to_text(record), done);
    if (done) {
        encode_record(record, payload);
    } else if (begun) {
        encode_record(*begun, payload);
    }
    return payload;
}

}  // namespace tdfs
