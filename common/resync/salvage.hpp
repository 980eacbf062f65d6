// What somebody else changed in a replica is kept under .tdfs/divergent before it is overwritten or removed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "common/os/file.hpp"

namespace tdfs {

inline constexpr std::string_view kKeptName = "divergent";        // in .tdfs
inline constexpr const char* kKeptReportName = "report";          // in it; beside it one directory for each batch
inline constexpr std::uint64_t kMostKeptReportBytes = 64u << 20;  // read at the start, to count its lines

struct KeepLimits {
    std::uint64_t bytes = 0;  // 0: nothing is kept
    std::uint64_t objects = 10'000;
};

// Invariant: what is kept is whole under .tdfs/divergent/BATCH/PATH, and its line stands in the report, before the caller
// goes on; else the caller gets an error and must not go on. Where the limit is reached nothing more is kept until a
// person has removed something there: what would be lost is worth more than a replica that follows without it.
//
// Objects that go are moved there; a file whose content is changed in place, or that has other names, is copied (by
// reflink where there is that) and synced. Thread-safe. `root` (the replica directory) outlives it.
class Salvage {
  public:
    using IsForeign = std::function<bool(const FileInfo&)>;
    using Tell = std::function<void(const std::string& line)>;  // each line of the report, for the log
    // `is_foreign`: whether somebody else than this daemon changed an object last.
    Salvage(int root, KeepLimits limits, IsForeign is_foreign, Tell tell);

    // Whose changes are kept: only what `is_foreign` says; or, where something was found different that was equal
    // before, everything but what was dealt with already.
    enum class Whose { kForeign, kAll };
    [[nodiscard]] bool wants(const FileInfo& info, Whose whose);

    using Kept = Result<void, std::string>;
    // What is wanted of the object `name` in `dir`, and of all beneath it, is moved away, or gets a name here too where
    // the caller is about to take the one it has; the rest stays.
    enum class How { kMove, kLink };
    Kept keep_object(int dir, const std::string& name, const std::string& path, Whose whose, const char* why,
                     How how = How::kMove);
    // The whole of a regular file that is to be changed in place.
    Kept keep_content(int fd, const std::string& path, const FileInfo& info, const char* why);
    // Owner, mode, times, attributes only: a line in the report tells what they were.
    Kept note_metadata(const std::string& path, const FileInfo& info, const char* why);
    // From here on this object is as the daemon made it.
    void made(std::uint64_t ino);

    struct Total {
        std::uint64_t lines = 0;    // of the report
        std::uint64_t objects = 0;  // kept now, and their bytes
        std::uint64_t bytes = 0;
        std::string refused;  // not empty: the limit is reached, and something waits for room
    };
    [[nodiscard]] Total total();  // 0 lines once the report was removed

  private:
    struct Object {
        int dir;
        const std::string& name;
        const std::string& path;
        const FileInfo& info;
        How how;
    };
    Kept begin_batch();
    Kept admit(std::uint64_t bytes, const std::string& path);
    // The directory in the batch that `path` belongs to, made where it is missing.
    Result<OwnFd, std::string> place_for(const std::string& path);
    Kept move_object(const Object& object, const char* why);
    Kept copy_content(int fd, const std::string& path, const FileInfo& info, const char* why);
    Kept report(const std::string& path, const FileInfo& info, const char* why, bool kept);
    void count();

    const int root_;
    const KeepLimits limits_;
    const IsForeign is_foreign_;
    const Tell tell_;
    std::mutex mutex_;  // guards:
    bool counted_ = false;
    Total total_;
    OwnFd kept_, batch_;
    std::string batch_name_;
    std::map<std::uint64_t, std::int64_t> dealt_with_;  // inode and the ctime it had; 0: made by the daemon
};

// What a part of the daemon that takes something away asks first. Without a salvage nothing is kept.
struct Keeping {
    Salvage* salvage = nullptr;
    Salvage::Whose whose = Salvage::Whose::kForeign;
    const char* who = "resync";

    [[nodiscard]] bool wants(const FileInfo& info) const { return salvage != nullptr && salvage->wants(info, whose); }
};

}  // namespace tdfs
