// A connection that has said a valid Hello.
#pragma once

#include <string>

#include "common/os/fd.hpp"
#include "proto/session.hpp"

namespace tdfs {

struct Arrival {
    OwnFd fd;
    std::string peer;  // its address, for people
    Hello hello;
};

}  // namespace tdfs
