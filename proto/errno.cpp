#include "proto/errno.hpp"

#include <system_error>

namespace tdfs {

std::string Errno::text() const { return std::generic_category().message(value_); }

bool is_trouble(Errno e) {
    switch (e.value()) {
        case EIO:
        case EROFS:  // a file system that has met an error
        case ENOMEM:
        case EMFILE:
        case ENFILE:
            return true;
        default:
            return false;
    }
}

}  // namespace tdfs
