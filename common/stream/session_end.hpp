// Why a session is over.
#pragma once

#include <string>

namespace tdfs {

struct SessionEnd {
    bool refused = false;  // one side does not want the other: words a person can act on, slow retries
    std::string text;
};

}  // namespace tdfs
