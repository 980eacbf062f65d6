#include "proto/errno.hpp"

#include <system_error>

namespace tdfs {

std::string Errno::text() const { return std::generic_category().message(value_); }

}  // namespace tdfs
