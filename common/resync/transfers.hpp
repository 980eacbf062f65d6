// Fetches what is on the agenda: content of regular files and extended attributes.
//
// A file goes through: opened (or begun in the stage) -> ranges asked for, piece by piece -> content complete: size,
// owner, permissions -> extended attributes asked for where they differ -> time, place, done.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "common/resync/agenda.hpp"
#include "common/resync/links.hpp"
#include "common/resync/local_tree.hpp"

namespace tdfs {

inline constexpr std::uint64_t kMaxExpectedBytes = 16ull << 20;  // of content asked for and not yet here
inline constexpr std::size_t kMaxTransferQuestions = 256;
inline constexpr std::size_t kMaxOpenFiles = 128;

// Answers come in the order of the questions. What turns out to be gone is dropped: the next round knows why, and other
// names of that object are put on the agenda at once. Not thread-safe; all references outlive it.
class Transfers {
  public:
    // Where what is there is read from. After a sync that failed the kernel may show what never reached the disk.
    enum class Read : std::uint8_t { kAsShown, kFromDisk };
    Transfers(LocalTree& tree, LinkGroups& links, Agenda& agenda, Read read)
        : tree_(tree), links_(links), agenda_(agenda), read_(read) {}
    ~Transfers();
    Transfers(const Transfers&) = delete;
    Transfers& operator=(const Transfers&) = delete;

    using Asked = std::optional<MessageKind>;
    // Appends one question to `out` and says which; nothing: none to ask until answers come.
    Result<Asked, std::string> ask(Bytes& out);

    // Whether the question in front is one about content; the other kind is about extended attributes.
    [[nodiscard]] bool expects_range() const { return !questions_.empty() && questions_.front().end != 0; }
    // False: the answer does not belong to the question (foreign bytes).
    Result<bool, std::string> part(const RangePart& m);
    Done end(const RangeEnd& m);
    Done xattrs(const XattrsReply& m);

    [[nodiscard]] bool idle() const { return open_files_ == 0 && questions_.empty() && !current_; }

    struct Counts {
        std::uint64_t files_done = 0;
        std::uint64_t bytes_done = 0;
        std::uint64_t fetched_files = 0;
        std::uint64_t fetched_bytes = 0;
        std::uint64_t xattrs_left = 0;
    };
    [[nodiscard]] const Counts& counts() const { return counts_; }

  private:
    struct File;
    using FilePtr = std::shared_ptr<File>;
    struct Question {
        FilePtr file;
        std::uint64_t begin = 0;  // of a range
        std::uint64_t end = 0;
        std::uint64_t expected = 0;
        std::uint64_t received = 0;
    };

    Done start();
    Done open_present(File& f);
    Done about_to_write(File& f);
    Result<bool, std::string> ask_range(Bytes& out);
    void ask_xattrs(FilePtr file, Bytes& out);
    Result<std::vector<std::pair<std::uint64_t, std::uint64_t>>, std::string> own_hashes(const File& f,
                                                                                         std::uint64_t begin,
                                                                                         std::uint64_t end) const;
    Done content_complete(const FilePtr& file);
    Done complete(File& f);
    Done set_only_xattrs(const File& f, const XattrsReply& m);
    Result<bool, std::string> put_into_place(File& f);
    Done drop(File& f);
    void close(File& f);
    template <class Message>
    static void say(Bytes& out, MessageKind kind, const Message& m);

    LocalTree& tree_;
    LinkGroups& links_;
    Agenda& agenda_;
    const Read read_;
    FilePtr current_;  // ranges of it are being asked for
    std::deque<FilePtr> need_xattrs_;
    std::deque<Question> questions_;    // in flight
    std::uint64_t expected_bytes_ = 0;  // of all of them
    std::size_t open_files_ = 0;
    Counts counts_;
};

}  // namespace tdfs
