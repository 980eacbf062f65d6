// Threads that serve requests: few, so that they stay hot, and more wherever some of them wait.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tdfs {

// What one thread of a crew works with: its own way to requests.
class Hand {
  public:
    enum class Taken { kRequest, kInterrupted, kEnd };
    virtual ~Hand() = default;
    virtual Taken take() = 0;  // waits for a request; any signal interrupts it; kEnd: none comes any more, to nobody
    virtual void serve() = 0;  // the one that was taken
    virtual void rest() {}     // will not be needed for a while: gives back what it can do without
    virtual void leave() {}    // takes none any more: gives what it still owes
    // Whether it may be without a request to take for a while. If not, it goes on taking, however many do.
    [[nodiscard]] virtual bool parks() const { return true; }
};

// Says that the request which this thread serves is about to wait for long (a disk, a lock that is held for long): another thread takes
// requests meanwhile. Costs a wake-up; nothing in a thread that is no member of a crew.
void about_to_wait();

// Stages of a member:
//   taking    waits for a request
//   serving   is within one
//   waiting   is within one that waits: it said so itself, or the watcher found it in the same request twice
//   parked    is not needed; called back before a new member is made
//
// At most `hot` members take and serve (but for those that do not park, and for a moment, after others were called in their place and
// they came back); what waits is not counted. So as long as not `most` members wait at once, somebody takes the next request within
// two looks.
//
// The watcher looks while requests come; when none came for a while it sleeps until the next one, whose member wakes it.
//
// start() once, stop() once. Owned by FuseMount; hands live until stop() returns, so that what a hand gave away for others to use
// (its channel, in replies that come later) may be used until then.
class Crew {
  public:
    struct Limits {
        unsigned hot = 2;
        unsigned most = 256;
        std::chrono::milliseconds look{4};
    };
    using MakeHand = std::function<std::unique_ptr<Hand>()>;  // nullptr: there is none to be had now
    using Looked = std::function<void(std::uint64_t)>;

    // `ended`: called by the first member that takes kEnd. `looked`: called by the watcher each time it has looked, with the number of
    // requests that were taken since the last time; it is told of several times without any before the watcher sleeps.
    Crew(Limits limits, MakeHand make_hand, std::function<void()> ended, Looked looked = {});
    ~Crew();  // stop()
    Crew(const Crew&) = delete;
    Crew& operator=(const Crew&) = delete;

    void start();
    void stop();  // returns when all threads have ended: not before what they serve is served
    [[nodiscard]] unsigned size() const;

  private:
    friend void about_to_wait();
    enum class Stage : std::uint64_t { kTaking, kServing, kWaiting, kParked, kGone };
    struct Member {
        explicit Member(Crew& c) : crew(c) {}
        Crew& crew;
        std::unique_ptr<Hand> hand;
        // The stage, and in the bits above the number of the request: a word that has not changed is the same request.
        std::atomic<std::uint64_t> word{0};
        std::uint64_t seen = 0;  // by the watcher's last look
        bool called = false;     // back from parking; guarded by mutex_
        std::condition_variable call;
        std::thread thread;
    };

    static Stage stage(std::uint64_t word) { return static_cast<Stage>(word & 7); }
    static std::uint64_t number(std::uint64_t word) { return word >> 3; }
    static std::uint64_t with(std::uint64_t word, Stage s) { return (word & ~7ull) | static_cast<std::uint64_t>(s); }

    void run(Member& m);
    void begin(Member& m);
    void finish(Member& m);
    void park(Member& m);
    void wait(Member& m);
    static bool step_aside(Member& m, std::uint64_t word);
    void watch();
    // Under mutex_.
    bool look();
    [[nodiscard]] bool anyone_serves() const;
    void fill_up(unsigned to);
    bool call_one();

    static thread_local Member* t_current;

    const Limits limits_;
    const MakeHand make_hand_;
    const std::function<void()> ended_;
    const Looked looked_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> end_seen_{false};
    std::atomic<unsigned> hot_{0};      // members that take or serve
    std::atomic<bool> watching_{true};  // false: whoever begins a request wakes the watcher
    std::thread watcher_;

    mutable std::mutex mutex_;  // guards:
    std::condition_variable wake_;
    std::vector<std::unique_ptr<Member>> members_;
    std::vector<Member*> parked_;
    unsigned growth_ = 0;    // how many the last look called, where all waited
    bool at_limit_ = false;  // and it was said
};

}  // namespace tdfs
