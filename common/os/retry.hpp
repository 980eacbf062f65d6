// A system call again for as long as a signal interrupts it.
#pragma once

#include <cerrno>

namespace tdfs {

template <class Call>
auto retry_interrupted(Call call) {
    auto result = call();
    while (result < 0 && errno == EINTR) result = call();
    return result;
}

}  // namespace tdfs
