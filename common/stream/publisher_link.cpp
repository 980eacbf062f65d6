#include "common/stream/publisher_link.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <spdlog/spdlog.h>

#include "common/stream/tcp.hpp"

namespace tdfs {

namespace {

constexpr std::uint64_t kFirstPauseMs = 100;
constexpr std::uint64_t kLongestPauseMs = 5000;
constexpr std::uint64_t kLongSessionNs = 5 * kSecondNs;
constexpr int kConnectTimeoutMs = 5000;
constexpr int kFarewellMs = 500;
constexpr std::size_t kSendFileBytes = 1024 * 1024;
constexpr std::size_t kWorthSendingBytes = 256 * 1024;  // so much does not wait for more

}  // namespace

PublisherLink::PublisherLink(PublisherShared& shared, std::size_t index)
    : shared_(shared), index_(index), target_(shared.options.targets[index]) {
    status_.target = target_.text();
}

PublisherLink::~PublisherLink() {
    ask_to_stop();
    join();
}

void PublisherLink::start() {
    thread_ = std::thread([this] { run(); });
}

void PublisherLink::ask_to_stop() {
    stopping_.store(true);
    stop_.wake();
}

void PublisherLink::join() {
    if (thread_.joinable()) thread_.join();
}

void PublisherLink::post(std::shared_ptr<InspectJob> job) {
    {
        const std::lock_guard lock(posted_mutex_);
        posted_.push_back(std::move(job));
    }
    listener_.wake();
}

void PublisherLink::take_posted(PublisherSession* session) {
    std::vector<std::shared_ptr<InspectJob>> jobs;
    {
        const std::lock_guard lock(posted_mutex_);
        jobs.swap(posted_);
    }
    for (auto& job : jobs) {
        if (session != nullptr && session->streaming()) {
            session->inspect(std::move(job));
        } else {
            job->finish(nullptr, "the slave is not streaming");
        }
    }
}

void PublisherLink::run() {
    block_sigpipe_in_this_thread();
    shared_.journal.add_listener(listener_);
    std::uint64_t pause_ms = kFirstPauseMs;
    while (!stopping()) {
        const bool achieved = visit();
        if (achieved) pause_ms = kFirstPauseMs;
        if (status_.state == PeerStatus::State::kRefused) pause_ms = kLongestPauseMs;
        take_posted(nullptr);
        pause(pause_ms);
        pause_ms = std::min(2 * pause_ms, kLongestPauseMs);
    }
    take_posted(nullptr);
    shared_.journal.remove_listener(listener_);
}

bool PublisherLink::visit() {
    auto fd = tcp_connect(target_.host, target_.port, shared_.options.nodelay, kConnectTimeoutMs, stop_.fd());
    if (!fd) {
        if (!stopping()) note_end({false, fd.error()});
        return false;
    }
    const Instant begin = Instant::now();
    PublisherSession session(shared_.journal, shared_.volume, shared_.options.name, shared_.make_responder, begin,
                             shared_.make_inspector);
    const SessionEnd end = run_session(fd->get(), session);
    view_ = SegmentView{};
    resyncs_before_ += session.report().resyncs;
    durable_acks_before_ += session.report().durable_acks;
    if (stopping()) {
        tcp_close_politely(std::move(*fd), {}, kFarewellMs, -1);
    } else if (end.refused) {
        tcp_close_politely(std::move(*fd), session.out(), kFarewellMs, stop_.fd());
    }
    note_end(end);
    return session.report().progressed || Instant::now().monotonic_ns - begin.monotonic_ns > kLongSessionNs;
}

SessionEnd PublisherLink::run_session(int fd, PublisherSession& session) {
    lost_.clear();
    welcomed_ = false;
    Pulse pulse(fd, [this] {
        return message(MessageKind::kHeartbeat, encode(Heartbeat{shared_.journal.tail()}), wall_clock_ns());
    });
    while (!stopping()) {
        take_posted(&session);
        session.tick(Instant::now());
        const Sent sent = transmit(fd, pulse, session);
        pulse.between_frames(session.between_frames());
        if (sent == Sent::kLost) static_cast<void>(receive(fd, session));  // its last words may say why
        note(session);
        if (session.ended()) return *session.ended();
        if (!lost_.empty()) return {false, lost_};
        if (sleep(fd, session, sent) && !receive(fd, session) && !session.ended()) return {false, lost_};
    }
    return {false, "stopped"};
}

PublisherLink::Sent PublisherLink::transmit(int fd, Pulse& pulse, PublisherSession& session) {
    if (!session.out().empty()) {
        const auto n = pulse.send([&] { return tcp_send(fd, session.out()); });
        if (!n) {
            if (n.error().value() == EAGAIN) return Sent::kBlocked;
            lost_ = "link lost: " + n.error().text();
            return Sent::kLost;
        }
        session.sent(*n);
        status_.bytes_sent += *n;
        return Sent::kSome;
    }
    const auto wish = session.journal_wish();
    return wish ? transmit_journal(fd, pulse, session, *wish) : Sent::kNothing;
}

PublisherLink::Sent PublisherLink::transmit_journal(int fd, Pulse& pulse, PublisherSession& session,
                                                    const PublisherSession::JournalWish& wish) {
    if (wish.range_bytes == 0) {
        auto view = next_view(wish.from);
        if (!view) {
            if (view.error().value() != ENOENT) {
                lost_ = "cannot read the journal at " + std::to_string(wish.from.bytes()) + ": " + view.error().text();
                return Sent::kLost;
            }
            session.journal_gone();
            return Sent::kSome;
        }
        if (view->bytes == 0) return Sent::kNothing;
        view_ = std::move(*view);
        view_done_ = 0;
        session.begin_range(view_.bytes);
    }
    const std::size_t bytes = std::min<std::uint64_t>(view_.bytes - view_done_, kSendFileBytes);
    const auto n = pulse.send([&] { return tcp_send_file(fd, view_.fd, view_.file_offset + view_done_, bytes); });
    if (!n) {
        if (n.error().value() == EAGAIN) return Sent::kBlocked;
        lost_ = "link lost: " + n.error().text();
        return Sent::kLost;
    }
    view_done_ += *n;
    session.journal_sent(*n);
    if (view_done_ == view_.bytes) view_ = SegmentView{};  // or a segment that is dropped would stay on the disk
    status_.bytes_sent += *n;
    return Sent::kSome;
}

// What there is to send from `from` on. Each wake-up on the way to the replica costs more than a small change does: within a burst of
// them the next range begins a moment after the last one and takes along what has come meanwhile. After a pause it begins at once.
SysResult<SegmentView> PublisherLink::next_view(Lsn from) {
    auto view = shared_.journal.view(from);
    const std::uint64_t now_ns = monotonic_ns();
    const std::uint64_t due_ns = range_begun_ns_ + kGatherNs;
    if (shared_.options.gather && view && view->bytes < kWorthSendingBytes && now_ns < due_ns) {
        std::this_thread::sleep_for(std::chrono::nanoseconds(due_ns - now_ns));
        view = shared_.journal.view(from);
    }
    range_begun_ns_ = monotonic_ns();
    return view;
}

bool PublisherLink::receive(int fd, PublisherSession& session) {
    const auto n = tcp_receive(fd, session.space());
    if (n && *n > 0) {
        session.filled(*n, Instant::now());
        return true;
    }
    if (!n && n.error().value() == EAGAIN) return true;
    if (lost_.empty()) lost_ = n ? "the slave closed the link" : "link lost: " + n.error().text();
    return false;
}

bool PublisherLink::sleep(int fd, PublisherSession& session, Sent sent) {
    const bool blocked = sent == Sent::kBlocked;
    const bool at_tail = sent == Sent::kNothing;
    bool idle = blocked || at_tail;
    if (at_tail) {
        // From here on a commit wakes us; what was committed before is seen by asking once more.
        listener_.arm();
        if (session.journal_wish()) idle = false;
    }
    int timeout_ms = 0;
    if (idle) {
        const std::uint64_t now_ns = monotonic_ns();
        const std::uint64_t due_ns = session.next_tick_ns();
        timeout_ms = due_ns > now_ns ? static_cast<int>((due_ns - now_ns) / kMillisecondNs) + 1 : 0;
    }
    std::array<pollfd, 3> fds{pollfd{fd, 0, 0}, pollfd{stop_.fd(), POLLIN, 0}, pollfd{listener_.fd(), POLLIN, 0}};
    if (session.wants_input()) fds[0].events |= POLLIN;
    if (blocked) fds[0].events |= POLLOUT;
    const int n = ::poll(fds.data(), at_tail ? 3 : 2, timeout_ms);
    if (at_tail) listener_.disarm();
    const bool input = n > 0 && (fds[0].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
    if (n >= 0 && !input) session.nothing_came(Instant::now());
    return input;
}

void PublisherLink::note(const PublisherSession& session) {
    const SessionReport& report = session.report();
    const bool linked = report.state == PeerStatus::State::kStreaming || report.state == PeerStatus::State::kStalled ||
                        report.state == PeerStatus::State::kPaused;
    if (report.state != PeerStatus::State::kConnecting) {
        if (!welcomed_) ++status_.connects;
        const bool entered = !welcomed_ || report.state != status_.state || report.detail != status_.detail;
        welcomed_ = true;
        status_.state = report.state;
        status_.name = report.name;
        status_.detail = report.detail;
        status_.sent = report.sent;
        status_.received = report.received;
        status_.durable = report.durable;
        status_.applied = report.applied;
        status_.resyncs = resyncs_before_ + report.resyncs;
        status_.durable_acks = durable_acks_before_ + report.durable_acks;
        status_.progress = report.progress;
        status_.soft_errors = report.soft_errors;
        status_.hard_errors = report.hard_errors;
        if (report.hold_ms > 0) status_.hold_ms = report.hold_ms;
        position_known_ = report.position_known;
        if (entered) {
            switch (report.state) {
                case PeerStatus::State::kResyncing:
                    log_state(false, "resync: " + report.detail);
                    break;
                case PeerStatus::State::kStalled:
                    log_state(true, "cannot apply: " + report.detail);
                    break;
                case PeerStatus::State::kPaused:
                    log_state(true, report.detail);
                    break;
                default:
                    log_state(false, report.detail.empty() ? "streaming" : "streaming: " + report.detail);
                    break;
            }
        }
    }
    const bool moved = shared_.board.put(index_, status_, position_known_, linked, monotonic_ns());
    if (moved && shared_.options.moved) shared_.options.moved();
}

void PublisherLink::note_end(const SessionEnd& end) {
    status_.state = end.refused ? PeerStatus::State::kRefused : PeerStatus::State::kConnecting;
    status_.detail = end.text;
    if (!stopping()) log_state(true, end.refused ? "refused: " + end.text : end.text);
    shared_.board.put(index_, status_, position_known_, false, monotonic_ns());
}

void PublisherLink::log_state(bool trouble, const std::string& text) {
    if (text == logged_) return;
    logged_ = text;
    const std::string name = status_.name.empty() ? std::string() : " (" + status_.name + ")";
    spdlog::log(trouble ? spdlog::level::warn : spdlog::level::info, "slave {}{}: {}", status_.target, name, text);
}

void PublisherLink::pause(std::uint64_t ms) {
    pollfd stop{stop_.fd(), POLLIN, 0};
    static_cast<void>(::poll(&stop, 1, static_cast<int>(ms)));  // interrupted: the next try just comes sooner
}

}  // namespace tdfs
