#include "common/stream/subscriber.hpp"

#include "common/stream/listener.hpp"
#include "common/stream/subscriber_link.hpp"

namespace tdfs {

class Subscriber::Impl {
  public:
    Impl(TcpListener listener, const SubscriberOptions& options, ReplicaPort& port)
        : link_(port),
          listener_(std::move(listener), options, [this](Arrival& arrival) { return link_.offer(arrival); }) {}

    void start() {
        link_.start();
        listener_.start();
    }

    void stop() {
        listener_.stop();
        link_.stop();
    }

    [[nodiscard]] Status status() const {
        Status status = link_.status();
        status.refused += listener_.refused();
        if (status.last_error.empty()) status.last_error = listener_.last_error();
        return status;
    }

    [[nodiscard]] std::uint16_t port() const { return listener_.port(); }

  private:
    SubscriberLink link_;
    Listener listener_;  // offers to link_, so it goes first
};

Subscriber::Subscriber(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Subscriber::~Subscriber() { stop(); }

Result<std::unique_ptr<Subscriber>, std::string> Subscriber::listen(const SubscriberOptions& options,
                                                                    ReplicaPort& port) {
    auto listener = tcp_listen(options.address, options.port);
    if (!listener) return Unexpected(std::move(listener.error()));
    return on(std::move(*listener), options, port);
}

std::unique_ptr<Subscriber> Subscriber::on(TcpListener listener, const SubscriberOptions& options, ReplicaPort& port) {
    return std::unique_ptr<Subscriber>(new Subscriber(std::make_unique<Impl>(std::move(listener), options, port)));
}

void Subscriber::start() { impl_->start(); }

void Subscriber::stop() { impl_->stop(); }

Subscriber::Status Subscriber::status() const { return impl_->status(); }

std::uint16_t Subscriber::bound_port() const { return impl_->port(); }

}  // namespace tdfs
