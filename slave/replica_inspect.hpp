// The replica's side of inspections. Private to replica*.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "slave/replica.hpp"

namespace tdfs {

// Owned by the replica; `replayer` and `healer` outlive it. Threads as InspectDesk says.
class Replica::Inspections : public InspectPort, private ReplayGate {
  public:
    Inspections(int root, Replayer& replayer, Healer& healer, ActivityLog* activity, Salvage* salvage,
                std::function<void()> wake, std::function<Result<void, std::string>()> make_durable)
        : replayer_(replayer),
          healer_(healer),
          activity_(activity),
          salvage_(salvage),
          wake_(std::move(wake)),
          make_durable_(std::move(make_durable)),
          desk_(root, *this) {}

    void submit(std::shared_ptr<InspectJob> job);
    [[nodiscard]] std::uint64_t differences() const { return desk_.differences(); }

    Result<void, DecodeError> receive(MessageKind kind, ByteView payload) override {
        return desk_.receive(kind, payload);
    }
    void produce(Bytes& out) override;
    [[nodiscard]] bool busy() const override { return desk_.busy() || healer_.since().has_value(); }
    void lost() override { desk_.lost(); }

  private:
    void meet(Lsn at, Meeting meeting) override;
    [[nodiscard]] Salvage* salvage() override { return salvage_; }
    [[nodiscard]] bool is_left_out(const std::string& path) const override { return healer_.has(path); }
    void watch(const void* who) override { replayer_.gates().watch(who); }
    Moved take_moved(const void* who) override { return replayer_.gates().take_moved(who); }
    void unwatch(const void* who) override { replayer_.gates().unwatch(who); }
    Result<void, std::string> make_durable() override { return make_durable_(); }
    [[nodiscard]] std::string stuck() const override {
        const auto status = replayer_.status();
        if (status.state == ReplayStatus::State::kRunning) return {};
        return status.error.empty() ? "it is stopped" : status.error;
    }

    Replayer& replayer_;
    Healer& healer_;
    ActivityLog* const activity_;  // or none; so is salvage_
    Salvage* const salvage_;
    const std::function<void()> wake_;
    const std::function<Result<void, std::string>()> make_durable_;
    InspectDesk desk_;
};

}  // namespace tdfs
