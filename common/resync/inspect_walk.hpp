// Where to look: compares what the master lists with what the replica has, each at some moment of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/os/file.hpp"
#include "common/resync/exact.hpp"
#include "proto/inspect.hpp"

namespace tdfs {

// A regular file whose content is being compared, window by window.
struct FileTask {
    std::string path;
    ObjectId object;           // on the master
    std::uint64_t size = 0;    // the larger one of both sides'
    std::uint64_t next = 0;    // begin of the next window
    std::uint32_t asked = 0;   // blocks whose hashes are coming
    std::size_t suspects = 0;  // of the window before, not looked at yet
    bool differs = false;      // for sure
    bool look_at_end = false;  // at what is beside the content, which was put off until then
};
using FileTaskPtr = std::shared_ptr<FileTask>;

// Something that may differ, and is to be looked at exactly.
struct Suspect {
    std::string path;
    std::vector<std::uint64_t> blocks;
    FileTaskPtr file;    // that waits for it
    std::string other;   // not empty: are both names one object?
    bool named = false;  // by the order: it must be somewhere
    double share = 0;    // of the whole, with all that is beneath
};

// Which names are one object, on both sides. Bounded: beyond kMaxGroups objects, links are not compared.
class LinkMap {
  public:
    static constexpr std::size_t kMaxGroups = 400'000;
    // A name whose objects agree with what was seen before, or another name with which they do not.
    std::string check(const std::string& path, const Entry& master, const Entry& local);
    // Another name of that object on the replica; "" none is known.
    [[nodiscard]] std::string name_of(const ObjectId& master) const;

  private:
    struct Group {
        std::string path;
        std::uint64_t ino = 0;
        std::uint32_t left = 0;  // names not seen yet
    };
    struct Hash {
        std::size_t operator()(const ObjectId& id) const noexcept {
            return id.ino * 0x9E3779B97F4A7C15ull ^ id.birth_ns;
        }
    };
    std::unordered_map<ObjectId, Group, Hash> groups_;
    std::unordered_map<std::uint64_t, ObjectId> by_ino_;
};

// Directories in the order of a walk, the comparison of what is in them, and files whose content is to be compared.
// Answers are fed in the order of the questions. Reads the replica, changes nothing. Not thread-safe; `root` outlives
// it.
class InspectWalk {
  public:
    InspectWalk(int root, bool full, bool repair);

    // Appends a question; says which, or nothing.
    enum class Asked { kNothing, kStat, kList, kHashes };
    void add_path(std::string path, bool named, double share);  // with all that is beneath
    void add_directory(std::string path, double share, bool links_only);
    void add_file(FileTaskPtr file) { files_.push_back(std::move(file)); }
    // All windows are equal, or healed. A repair now gives the file its time.
    void finish_file(const FileTask& file);
    Asked ask(Bytes& out);

    // True: the question in front is answered.
    Result<bool, DecodeError> on(ListPart m);
    void on(const StatReply& m);
    Result<void, DecodeError> on(const HashesReply& m);
    // In the place of an answer to a question of that kind.
    void give_up(Asked asked, const std::string& why);

    std::deque<Suspect> suspects;
    std::vector<Finding> unreadable;

    [[nodiscard]] bool idle() const;
    [[nodiscard]] std::uint64_t files() const { return compared_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    [[nodiscard]] std::uint64_t cost() const { return compared_ * 256 + bytes_; }
    [[nodiscard]] double share() const { return share_; }
    [[nodiscard]] const std::string& at() const { return at_; }
    LinkMap& links() { return links_; }

  private:
    struct Directory {
        std::string path;
        double share = 0;
        bool links_only = false;
    };
    struct Listing {
        Directory task;
        bool opened = false;
        OwnFd dir;
        std::vector<std::string> names;  // of the replica, sorted
        std::size_t next = 0;
        std::string last_name;  // the master's
        std::vector<std::string> beneath;
    };
    void open(Listing& l);
    void extra(const Listing& l, const std::string& name);
    void compare(const std::string& path, const Entry* master, const Entry* local, bool named);
    void compare_links(const std::string& path, const Entry& master, const Entry& local);
    void fail(const std::string& path, const std::string& why);

    const int root_;
    const bool full_;
    const bool repair_;
    std::uint64_t device_ = 0;
    LinkMap links_;
    std::deque<Suspect> paths_;           // to be asked about; only path and named count
    std::vector<Directory> directories_;  // the last one first
    std::deque<FileTaskPtr> files_;
    // Asked.
    std::deque<Suspect> stats_;
    std::deque<Listing> listings_;
    std::deque<FileTaskPtr> hashes_;
    std::size_t asked_blocks_ = 0;
    std::uint64_t compared_ = 0;
    std::uint64_t bytes_ = 0;
    double share_ = 0;
    std::string at_;
};

}  // namespace tdfs
