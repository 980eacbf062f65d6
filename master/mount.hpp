// The mount: a FUSE session over a FileSystem.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/os/fd.hpp"
#include "master/crew.hpp"
#include "master/file_system.hpp"
#include "master/fuse_handles.hpp"
#include "master/fuse_ring.hpp"
#include "master/stay_awake.hpp"
#include "master/sync_gate.hpp"
#include "proto/result.hpp"

struct fuse_session;

namespace tdfs {

// What libfuse and the kernel gave us, for status and --version. Set by the first request, read by any thread.
struct FuseFeatures {
    static const bool kTmpfile, kKillSuidgid, kStatx;  // what the library we were built with can do
    std::atomic<bool> kill_privileges = false;  // HANDLE_KILLPRIV_V2: no request for set-id bits before each write
    std::atomic<bool> acl = false;
    // The kernel opens directories by itself and names them in each request; else each has an OpenDirectory.
    std::atomic<bool> opens_directories = false;
    std::atomic<bool> stay_awake = false;  // idle cores are kept from halting while requests come fast
    // Wished for until the session begins, then whether the kernel does it:
    std::atomic<bool> writeback = false;  // --writeback
    std::atomic<bool> io_uring = false;   // requests come over io_uring
    std::atomic<std::uint32_t> max_write = 0;
};

// Owned by main; `fs` and `gate` outlive it. mount() once, then start(), then wait on ended_fd(); stop() from any thread, once
// the gate is stopped: it answers by the session that ends here.
class FuseMount {
  public:
    FuseMount(FileSystem& fs, Node* root, SyncGate& gate);
    ~FuseMount();
    FuseMount(const FuseMount&) = delete;
    FuseMount& operator=(const FuseMount&) = delete;

    // Mounts over `mountpoint` (an absolute path). The error text is one line for people.
    Result<void, std::string> mount(const std::string& mountpoint, const std::string& source, bool debug);
    struct Requests {
        bool stay_awake = false;   // idle cores are kept from halting while they come fast
        unsigned ring_queues = 0;  // they come over io_uring, see ring_queues(); 0: over /dev/fuse
    };
    void start(Requests how);  // serves requests in threads of its own; afterwards the mount answers
    // Unmounts; files that are still open get errors from then on. Returns when no request is being served.
    void stop();
    [[nodiscard]] int ended_fd() const { return ended_.get(); }  // readable once the file system was unmounted
    [[nodiscard]] const FuseFeatures& features() const { return features_; }

    // For the operations.
    [[nodiscard]] FileSystem& file_system() { return fs_; }
    [[nodiscard]] Node* root() const { return root_; }
    [[nodiscard]] SyncGate& sync_gate() { return gate_; }
    [[nodiscard]] FuseHandles<OpenFile>& files() { return files_; }
    [[nodiscard]] FuseHandles<OpenDirectory>& directories() { return directories_; }
    [[nodiscard]] FuseFeatures& features() { return features_; }
    [[nodiscard]] fuse_session* session() { return session_; }

  private:
    void say_ended();
    bool begin_session();
    void make_rings(unsigned queues);
    void add_crew(Crew::Limits limits, Crew::MakeHand make_hand);

    FileSystem& fs_;
    Node* const root_;
    SyncGate& gate_;
    FuseHandles<OpenFile> files_;
    FuseHandles<OpenDirectory> directories_;
    FuseFeatures features_;
    fuse_session* session_ = nullptr;
    bool mounted_ = false;
    bool own_channels_ = false;  // a thread may have one
    std::string mountpoint_;
    OwnFd ended_;
    std::deque<FuseRing::Queue> queues_;                  // of requests over io_uring
    std::vector<std::unique_ptr<FuseRing>> rings_;        // each queue's first, until its thread takes it
    std::vector<std::unique_ptr<StayAwake>> stay_awake_;  // one for each crew
    std::vector<std::unique_ptr<Crew>> crews_;
};

[[nodiscard]] std::string fuse_library_version();

}  // namespace tdfs
