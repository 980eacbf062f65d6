// Questions about the backing directory, answered a part at a time: what resync and inspection have in common.
#pragma once

#include <memory>
#include <optional>

#include "common/resync/answers.hpp"
#include "common/resync/look_ahead.hpp"

namespace tdfs {

// Whole frames are appended to `out`. The question in front is asked about again until its answer is kDone. Not
// thread-safe; the backing directory outlives it.
class Answerer {
  public:
    enum class Progressed { kDone, kMore, kLater };  // kLater: nothing to send yet, but work left
    using Step = Answer<Progressed>;

    explicit Answerer(int root);
    // `ahead` is told of each list that is begun.
    Answerer(int root, LookAhead& ahead) : Answerer(root) { ahead_ = &ahead; }

    Step answer(const ListRequest& q, Bytes& out);
    Step answer(const StatRequest& q, Bytes& out);
    Step answer(const XattrsRequest& q, Bytes& out);
    Step answer(const RangeRequest& q, Bytes& out);

    void abandon();  // the question in front is given up in the middle
    void close_files() { file_.close(); }
    [[nodiscard]] const BackingDir& backing() const { return backing_; }

    template <class Message>
    static void say(Bytes& out, MessageKind kind, const Message& m) {
        const auto frame = message(kind, encode(m), wall_clock_ns());
        out.insert(out.end(), frame.begin(), frame.end());
    }

  private:
    const BackingDir backing_;
    LookAhead* ahead_ = nullptr;
    // Of the question in front.
    std::unique_ptr<ListAnswer> list_;
    std::optional<RangeAnswer> range_;
    RangeFile file_;
};

}  // namespace tdfs
