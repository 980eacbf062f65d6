// Errno: the error of a system call, as a value.
#pragma once

#include <cerrno>
#include <string>

#include "proto/result.hpp"

namespace tdfs {

class Errno {
  public:
    explicit constexpr Errno(int value) : value_(value) {}
    // The calling thread's errno. Call right after the failed system call.
    static Errno last() { return Errno(errno); }

    [[nodiscard]] constexpr int value() const { return value_; }
    // The system's text, e.g. "No space left on device".
    [[nodiscard]] std::string text() const;
    friend constexpr bool operator==(Errno, Errno) = default;

  private:
    int value_;
};

// It is the machine that stands in the way, not what is or is not there: nothing is known then, and it may go another time.
[[nodiscard]] bool is_trouble(Errno e);

template <class T>
using SysResult = Result<T, Errno>;

inline Unexpected<Errno> fail(int value) { return Unexpected<Errno>(Errno(value)); }
inline Unexpected<Errno> fail(Errno e) { return Unexpected<Errno>(e); }
inline Unexpected<Errno> fail_last() { return Unexpected<Errno>(Errno::last()); }

}  // namespace tdfs
