#include "common/journal/journal.hpp"

namespace tdfs {

Reservation& Reservation::operator=(Reservation&& other) noexcept {
    if (this == &other) return *this;
    TDFS_INVARIANT(frame_bytes_ == 0, "a reservation is overwritten before it was committed or abandoned");
    lsn_ = other.lsn_;
    frame_bytes_ = std::exchange(other.frame_bytes_, 0);
    slot_ = other.slot_;
    ticket_ = other.ticket_;
    time_ns_ = other.time_ns_;
    segment_ = std::move(other.segment_);
    return *this;
}

Reservation::~Reservation() { TDFS_INVARIANT(frame_bytes_ == 0, "a reservation was neither committed nor abandoned"); }

}  // namespace tdfs
