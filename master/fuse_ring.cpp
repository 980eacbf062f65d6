#include "master/fuse_ring.hpp"

#include <linux/fuse.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

#include <fuse_lowlevel.h>
#include <spdlog/spdlog.h>

#include "proto/record.hpp"

namespace tdfs {

namespace {

// The kernel's words, which the headers of older systems do not have.
constexpr std::uint32_t kOverIoUring = 1u << 9;               // of flags2
constexpr std::uint64_t kOwnUnique = std::uint64_t{1} << 62;  // far from those the kernel counts up; not odd
constexpr unsigned kRegister = 1;
constexpr unsigned kCommitAndFetch = 2;
constexpr std::size_t kHeaderBytes = 128;
constexpr std::size_t kMuch = 128 * 1024;  // of what is read at once

struct Command {
    std::uint64_t flags = 0;
    std::uint64_t commit_id = 0;
    std::uint16_t queue = 0;
    std::array<std::uint8_t, 6> padding{};
};

// Each has a thread. Only measured with two.
constexpr unsigned kMostQueues = 64;
constexpr const char* kSwitch = "/sys/module/fuse/parameters/enable_uring";

constexpr auto kPause = std::chrono::milliseconds(100);

bool switch_on() { return static_cast<bool>(std::ofstream(kSwitch) << "Y" << std::flush); }

// The kernel has a queue for each possible core, also for those that are not there yet.
Result<unsigned, std::string> possible_cores() {
    constexpr const char* kList = "/sys/devices/system/cpu/possible";
    std::string list;
    std::ifstream(kList) >> list;
    unsigned last = 0;
    char after = 0;
    if (std::sscanf(list.c_str(), "0-%u%c", &last, &after) == 1 || list == "0") return last + 1;
    return Unexpected(std::string(kList) + " says \"" + list + "\", which is not one range from 0");
}

bool is_about_open_file(std::uint32_t opcode) {
    constexpr std::array<std::uint32_t, 7> kOnes{FUSE_READ,      FUSE_WRITE, FUSE_FSYNC,          FUSE_RELEASE,
                                                 FUSE_FALLOCATE, FUSE_LSEEK, FUSE_COPY_FILE_RANGE};
    return std::find(kOnes.begin(), kOnes.end(), opcode) != kOnes.end();
}

int make_ring(io_uring& ring) {
    io_uring_params params{};
    // The thread that uses it is not the one that makes it. What the kernel has for it, it does when the thread waits.
    params.flags =
        IORING_SETUP_SQE128 | IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    return io_uring_queue_init_params(1, &ring, &params);
}

}  // namespace

struct FuseRing::Place {
    struct Header {
        std::array<std::byte, kHeaderBytes> in_out;  // fuse_in_header, then fuse_out_header
        std::array<std::byte, kHeaderBytes> op_in;   // the operation's own
        std::uint64_t flags;
        std::uint64_t commit_id;
        std::uint32_t payload_bytes;
        std::uint32_t padding;
        std::uint64_t reserved;
    };
    static_assert(sizeof(Header) == 2 * kHeaderBytes + 32);

    Header header;
    std::array<iovec, 2> parts;
    // Right before what comes with a request there is room for its headers, so that libfuse gets it in one piece.
    alignas(4096) std::array<std::byte, 4096> before;
    std::array<std::byte, kMaxWriteBytes> payload;
};

ssize_t RingOffer::answer(std::span<const iovec> parts) {
    std::array<iovec, 2> changed{};
    fuse_init_out agreement{};
    wanted_ = wanted_ && parts.size() == 2 && parts[1].iov_len == sizeof agreement;
    if (wanted_) {
        std::memcpy(&agreement, parts[1].iov_base, sizeof agreement);
        agreement.flags2 |= kOverIoUring;
        changed = {parts[0], iovec{&agreement, sizeof agreement}};
        parts = changed;
    }
    return ::writev(fd_, parts.data(), static_cast<int>(parts.size()));
}

Result<unsigned, std::string> ring_queues() {
#ifndef FUSE_CAP_OVER_IO_URING
    return Unexpected<std::string>("it needs libfuse 3.18");
#else
    std::ifstream file(kSwitch);
    char on = 0;
    if (!(file >> on)) return Unexpected<std::string>("this kernel has no io_uring for FUSE (Linux 6.14 can have it)");
    if (on != 'Y')
        return Unexpected(std::string("the kernel has it switched off (to switch it on, before the mount: echo Y >") +
                          kSwitch + ")");
    auto queues = possible_cores();
    if (!queues) return queues;
    if (*queues > kMostQueues) {
        return Unexpected("the kernel wants a thread for each of " + std::to_string(*queues) + " possible cores, and " +
                          std::to_string(kMostQueues) + " are the most here");
    }
    cpu_set_t cores;
    const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
    if (::sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) < online) {
        return Unexpected<std::string>("a thread on each core is wanted, and this process may not run on all");
    }
    io_uring ring{};
    if (const int made = make_ring(ring); made != 0) {
        return Unexpected(std::string("no ring can be made: ") + std::strerror(-made));
    }
    io_uring_queue_exit(&ring);
    return queues;
#endif
}

Result<std::unique_ptr<FuseRing>, Errno> FuseRing::make(fuse_session* session, Queue& queue) {
    std::unique_ptr<FuseRing> made(new FuseRing(session, queue));
    if (const int e = make_ring(made->ring_); e != 0) {
        made->ring_.ring_fd = -1;
        return Unexpected(Errno(-e));
    }
    return made;
}

// Not cleared: what no request reaches takes no memory.
FuseRing::FuseRing(fuse_session* session, Queue& queue)
    : session_(session), queue_(queue), place_(std::make_unique_for_overwrite<Place>()) {
    place_->parts = {iovec{&place_->header, sizeof place_->header}, iovec{place_->payload.data(), kMaxWriteBytes}};
    const std::lock_guard lock(queue_.mutex);
    queue_.places.push_back(this);
}

FuseRing::~FuseRing() {
    {
        const std::lock_guard lock(queue_.mutex);
        std::erase(queue_.places, this);
    }
    if (ring_.ring_fd >= 0) io_uring_queue_exit(&ring_);
}

// By the thread that will use it.
void FuseRing::begin() {
    begun_ = true;
    // The first thread's: this one may have been begun by one that is at home.
    static_cast<void>(::sched_getaffinity(::getpid(), sizeof anywhere_, &anywhere_));
    // liburing 2.3 does not export io_uring_enable_rings().
    const int e = io_uring_register(static_cast<unsigned>(ring_.ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    TDFS_INVARIANT(e >= 0, "a ring that was just made can be used");
    go_home(true);
}

void FuseRing::offer() {
    if (!begun_) begin();
    submit(kRegister, 0);
    // Whether the place was taken is told where it is waited for.
    static_cast<void>(io_uring_submit(&ring_));
    take_what_waits();
}

// Whoever is answered meanwhile takes it, too.
void FuseRing::take_what_waits() {
    const std::lock_guard lock(queue_.mutex);
    for (const FuseRing* place : queue_.places) {
        if (const std::uint64_t file = place->file_; file != 0 && ask_about(file)) return;
    }
}

// For nothing of what the kernel keeps of a file's content: that is a request to the queue of this core. False: it knows no such file.
bool FuseRing::ask_about(std::uint64_t file) const {
    fuse_notify_retrieve_out what{};
    what.notify_unique = kOwnUnique;
    what.nodeid = file;
    fuse_out_header header{sizeof header + sizeof what, FUSE_NOTIFY_RETRIEVE, 0};
    const std::array<iovec, 2> parts{iovec{&header, sizeof header}, iovec{&what, sizeof what}};
    return ::writev(queue_.device.get(), parts.data(), static_cast<int>(parts.size())) > 0;
}

void FuseRing::go_home(bool home) {
    if (home == at_home_) return;
    at_home_ = home;
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET(queue_.number, &core);
    // A core that is not there, or not for this process: slower, nothing else.
    static_cast<void>(::pthread_setaffinity_np(::pthread_self(), sizeof core, home ? &core : &anywhere_));
}

void FuseRing::submit(unsigned command, std::uint64_t commit_id) {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    TDFS_INVARIANT(sqe != nullptr, "the only entry of a ring is free once it was submitted");
    std::memset(sqe, 0, 2 * sizeof *sqe);
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = queue_.device.get();
    sqe->cmd_op = command;
    if (command == kRegister) {
        sqe->addr = reinterpret_cast<std::uint64_t>(place_->parts.data());
        sqe->len = static_cast<std::uint32_t>(place_->parts.size());
    }
    Command rest;
    rest.commit_id = commit_id;
    rest.queue = static_cast<std::uint16_t>(queue_.number);
    std::memcpy(sqe->cmd, &rest, sizeof rest);
}

Hand::Taken FuseRing::take() {
    if (channel_) return channel_->take();
    const Next told = std::exchange(next_, Next::kWait);
    if (told == Next::kRegister) {
        offer();
    } else if (told == Next::kCommit) {
        go_home(!copied_much_);
        submit(kCommitAndFetch, place_->header.commit_id);
    }
    const int n = io_uring_submit_and_wait(&ring_, 1);
    io_uring_cqe* cqe = nullptr;
    if (io_uring_peek_cqe(&ring_, &cqe) != 0) {
        // Without memory for it just now it is submitted the next time.
        TDFS_INVARIANT(n >= 0 || n == -EINTR || n == -EAGAIN || n == -ENOMEM, "a thread can wait at its ring");
        return Taken::kInterrupted;
    }
    const int result = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    if (result != 0) return failed(told, -result);
    queue_.in_use = true;
    return Taken::kRequest;
}

Hand::Taken FuseRing::failed(Next told, int error) {
    if (error == ENOTCONN || error == ECONNABORTED || error == ECANCELED) return Taken::kEnd;  // unmounted
    const bool passes = error == EOPNOTSUPP || error == ENOMEM || error == EAGAIN;
    if (passes && (told == Next::kCommit || queue_.in_use)) {
        next_ = told;
        if (error == EOPNOTSUPP && switch_on()) {
            spdlog::warn(
                "io_uring for FUSE was switched off while this mount uses it, and is on again: stop the mount first");
            return Taken::kInterrupted;
        }
        spdlog::error("requests wait for io_uring, error=\"{}\"", std::strerror(error));
        std::this_thread::sleep_for(kPause);
        return Taken::kInterrupted;
    }
    if (told == Next::kRegister) {
        spdlog::warn("a thread takes requests from /dev/fuse: the kernel refuses its ring: {}", std::strerror(error));
        channel_.emplace(session_, FuseChannel::Kind::kShared);
        return Taken::kInterrupted;
    }
    spdlog::error("mount error=\"{}\"", std::strerror(error));
    return Taken::kEnd;
}

// The last answer, without a wait for the next request.
void FuseRing::leave() {
    if (next_ != Next::kCommit) return;
    submit(kCommitAndFetch, place_->header.commit_id);
    static_cast<void>(io_uring_submit(&ring_));
}

void FuseRing::serve() {
    if (channel_) return channel_->serve();
    fuse_in_header in{};
    std::memcpy(&in, place_->header.in_out.data(), sizeof in);
    const std::size_t payload = place_->header.payload_bytes;
    TDFS_INVARIANT(
        payload <= kMaxWriteBytes && in.len >= sizeof in + payload && in.len - sizeof in - payload <= kHeaderBytes,
        "the kernel's requests fit the place they are put in");
    const std::size_t own = in.len - sizeof in - payload;
    fuse_buf request{};
    request.size = in.len;
    std::byte* const start = place_->payload.data() - own - sizeof in;
    request.mem = start;
    std::memcpy(start, &in, sizeof in);
    std::memcpy(start + sizeof in, place_->header.op_in.data(), own);
    answered_ = false;
    if (in.opcode == FUSE_NOTIFY_REPLY) {
        answer_nothing(in.unique, 0);  // what we asked for ourselves
    } else {
        if (is_about_open_file(in.opcode)) file_ = in.nodeid;
        const AnswerThrough here(this);
        fuse_session_process_buf(session_, &request);
    }
    if (!answered_) {
        spdlog::error("a request over io_uring was not answered, operation={}", in.opcode);
        answer_nothing(in.unique, -EIO);
    }
    next_ = Next::kCommit;
}

void FuseRing::answer_nothing(std::uint64_t unique, int error) {
    fuse_out_header out{sizeof out, error, unique};
    const std::array<iovec, 1> parts{iovec{&out, sizeof out}};
    static_cast<void>(answer(parts));
}

ssize_t FuseRing::answer(std::span<const iovec> parts) {
    std::size_t size = 0;
    for (const iovec& part : parts.subspan(1)) {
        TDFS_INVARIANT(part.iov_len <= kMaxWriteBytes - size, "an answer fits the place it is put in");
        std::byte* const to = place_->payload.data() + size;
        if (to != part.iov_base) std::memmove(to, part.iov_base, part.iov_len);
        size += part.iov_len;
    }
    copied_much_ = size >= kMuch;
    std::memcpy(place_->header.in_out.data(), parts[0].iov_base, sizeof(fuse_out_header));
    place_->header.payload_bytes = static_cast<std::uint32_t>(size);
    answered_ = true;
    return static_cast<ssize_t>(sizeof(fuse_out_header) + size);
}

std::span<std::byte> FuseRing::space() { return place_->payload; }

}  // namespace tdfs
