#include "master/settler.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <spdlog/spdlog.h>

#include "common/journal/parity.hpp"
#include "common/os/file.hpp"

namespace tdfs {

namespace {
constexpr std::size_t kFileBytes = 4096;
}

Settler::Settler(Locks& locks, NodeTable& nodes, Mutator& mutator, Journal& journal)
    : locks_(locks), nodes_(nodes), mutator_(mutator), journal_(journal) {}

Settler::~Settler() {
    stop();
    if (words_ != nullptr) ::munmap(words_, kFileBytes);
}

SysResult<void> Settler::open(int dir, Lsn if_new, Lsn if_damaged) {
    auto fd = open_at(dir, "settled", O_RDWR | O_CREAT, 0600);
    if (!fd) return fail(fd.error());
    const auto info = stat_fd(fd->get());
    if (!info) return fail(info.error());
    const bool is_new = info->size != kFileBytes;
    if (is_new && ::ftruncate(fd->get(), kFileBytes) != 0) return fail_last();
    void* const mapped = ::mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
    if (mapped == MAP_FAILED) return fail_last();
    words_ = static_cast<std::atomic<std::uint64_t>*>(mapped);
    const auto kept = without_parity(words_[kSettled].load(std::memory_order_relaxed));
    set_settled_lsn(is_new ? if_new : kept ? Lsn(*kept) : if_damaged);
    words_[kLossesDone].store(words_[kLossesBegun].load());  // of a process that was killed in between
    return {};
}

Lsn Settler::settled_lsn() const { return Lsn(settled_lsn_.load(std::memory_order_relaxed)); }
void Settler::set_settled_lsn(Lsn lsn) {
    settled_lsn_.store(lsn.bytes(), std::memory_order_relaxed);
    words_[kSettled].store(with_parity(lsn.bytes()), std::memory_order_relaxed);
}

std::optional<std::uint64_t> Settler::root_losses() const {
    const std::uint64_t done = words_[kLossesDone].load(), begun = words_[kLossesBegun].load();
    return done == begun ? std::optional(begun) : std::nullopt;
}

bool Settler::lost_from_root_unnoted(int dir) {
    const auto bytes = read_file(dir, "settled", kFileBytes);
    if (!bytes || bytes->size() != kFileBytes) return false;
    std::array<std::uint64_t, kLossesNoted + 1> words{};
    std::memcpy(words.data(), bytes->data(), sizeof words);
    return words[kLossesBegun] != words[kLossesNoted];
}

void Settler::start() {
    thread_ = std::thread([this] { run(); });
}

void Settler::stop() {
    {
        const std::lock_guard guard(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    const bool was_running = thread_.joinable();
    if (was_running) thread_.join();
    const std::lock_guard guard(mutex_);
    if (was_running && remembered_.empty()) set_settled_lsn(journal_.tail());  // all settled times included
    if (!remembered_.empty()) {
        spdlog::warn("the times of {} objects are left to be settled by the next start", remembered_.size());
        // What survives a power loss right now has to say so too.
        if (::msync(words_, kFileBytes, MS_SYNC) != 0) spdlog::error("settled: {}", Errno::last().text());
    }
    for (const Remembered& r : remembered_) {
        r.node->in_settler = false;
        nodes_.unpin(r.node);
    }
    remembered_.clear();
}

// Sequentially consistent on both sides, here and in sweep(): one of the two sees what the other has stored.
void Settler::touched(Node* node, Lsn lsn) {
    const std::uint64_t now = monotonic_ns();
    node->touched_ns.store(now);
    if (node->in_settler.load() || node->in_settler.exchange(true)) return;
    nodes_.pin(node);
    const std::lock_guard guard(mutex_);
    remembered_.push_back({node, lsn, now});
}

void Settler::before_late_change(Node* node, int fd) const {
    if (!kernel_keeps_times_ || !node->is_regular || node->kernel_mtime_ns.load() != Node::kNotLate) return;
    if (const auto info = stat_fd(fd)) node->kernel_mtime_ns.store(info->mtime_ns);
}

FileInfo Settler::with_kernel_time(const Node* node, FileInfo info) {
    const std::int64_t kept = node->kernel_mtime_ns.load();
    if (kept != Node::kNotLate) info.mtime_ns = kept;
    return info;
}

void Settler::settle(Node* node) {
    OpLock lock(locks_);
    if (node->is_dir) lock.read_directory(node->id.ino);
    lock.change_object(node->id.ino);
    static_cast<void>(settle_locked(node));  // it stays remembered
}

SysResult<void> Settler::settle_before_loss(std::uint64_t ino) {
    Node* const node = nodes_.find_pinned(ino);
    if (node == nullptr) return {};  // nothing is remembered of it: what is remembered is pinned
    auto settled = settle_locked(node);
    nodes_.unpin(node);
    return settled;
}

// Settled is what is recorded: until then sweep() must not take it for done.
SysResult<void> Settler::settle_locked(Node* node) {
    if (node->touched_ns.load() == 0) return {};
    // What has no name is not on any replica; what is gone needs no time.
    const auto path = nodes_.path(node);
    const auto place = nodes_.place(node);
    SysResult<FileInfo> info = fail(place ? Errno(ENOENT) : place.error());
    if (path && place && place->named()) info = stat_at(place->dir->get(), place->name);
    if (!info && is_trouble(info.error())) {
        node->touched_ns.store(monotonic_ns());  // tried again later
        return fail(info.error());
    }
    if (info && info->object == node->id) {
        const std::int64_t kept = node->kernel_mtime_ns.load();
        // Where it cannot be put back, the backing file's own time is the true one for all but the kernel.
        if (kept != Node::kNotLate && set_mtime_at(place->dir->get(), place->name, kept)) info->mtime_ns = kept;
        node->kernel_mtime_ns.store(Node::kNotLate);
        AttributesRecord r;
        r.object = node->id;
        r.path = *path;
        r.valid = AttributesRecord::kMtime | AttributesRecord::kSettled;
        r.mtime_ns = info->mtime_ns;
        if (const auto noted = mutator_.note(r); !noted) {
            node->touched_ns.store(monotonic_ns());  // no room: tried again later
            return fail(noted.error());
        }
    }
    is_settled(node);
    return {};
}

void Settler::sweep(std::uint64_t quiet_ns) {
    {
        std::unique_lock lock(mutex_);
        swept_.wait(lock, [this] { return !sweeping_; });
        sweeping_ = true;
    }
    look_through(quiet_ns);
}

void Settler::forget_settled() {
    {
        const std::lock_guard guard(mutex_);
        if (sweeping_) return;  // perhaps by this very thread, which finds no room for a record
        sweeping_ = true;
    }
    look_through(std::nullopt);
}

void Settler::look_through(std::optional<std::uint64_t> quiet_ns) {
    const Lsn tail = journal_.tail();  // what is remembered after this point was committed after it
    std::vector<Remembered> work;
    {
        const std::lock_guard guard(mutex_);
        work.swap(remembered_);
    }
    const std::uint64_t now = monotonic_ns();
    std::vector<Remembered> left;
    Lsn oldest = tail;
    for (const Remembered& r : work) {
        const std::uint64_t touched = r.node->touched_ns.load();
        const bool is_quiet = quiet_ns && now - std::min(now, touched) >= *quiet_ns;
        const bool is_old = now - std::min(now, r.since_ns) >= kLongestMs * 1'000'000;
        const bool is_far = tail > r.first && tail - r.first >= kFarBytes;
        if (quiet_ns && touched != 0 && (is_quiet || is_old || is_far)) settle(r.node);
        // Forgotten before it is looked at once more, so that a change in between is remembered anew.
        if (r.node->touched_ns.load() == 0) {
            r.node->in_settler = false;
            if (r.node->touched_ns.load() == 0 || r.node->in_settler.exchange(true)) {
                nodes_.unpin(r.node);
                continue;
            }
        }
        left.push_back(r);
        oldest = std::min(oldest, r.first);
    }
    {
        const std::lock_guard guard(mutex_);
        for (const Remembered& r : remembered_) oldest = std::min(oldest, r.first);
        remembered_.insert(remembered_.end(), left.begin(), left.end());
        set_settled_lsn(std::max(oldest, settled_lsn()));
        sweeping_ = false;
    }
    swept_.notify_all();
}

void Settler::settle_all() { sweep(0); }

std::size_t Settler::pending() const {
    const std::lock_guard guard(mutex_);
    return remembered_.size();
}

void Settler::run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        wake_.wait_for(lock, std::chrono::milliseconds(kQuietMs / 2));
        if (stopping_ || remembered_.empty()) continue;
        lock.unlock();
        sweep(kQuietMs * 1'000'000);
        lock.lock();
    }
}

}  // namespace tdfs
