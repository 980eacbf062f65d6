// A thread that does housekeeping when it is asked to.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace tdfs {

// Calls `work` after each kick() (kicks during the work are one more round). Owned by what `work` refers to, which
// stops it before anything else of it is destroyed.
class Keeper {
  public:
    ~Keeper() { stop(); }
    void start(std::function<void()> work);
    void kick();
    void stop();  // waits for work under way

  private:
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable kicked_;
    bool wanted_ = false;   // guarded by mutex_
    bool stopped_ = false;  // guarded by mutex_
};

}  // namespace tdfs
