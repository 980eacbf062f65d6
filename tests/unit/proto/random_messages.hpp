// The encoding of a random, valid message of each kind.
#pragma once

#include "proto/inspect.hpp"
#include "tests/unit/proto/random_values.hpp"

namespace tdfs::test {

[[nodiscard]] Bytes random_message(MessageKind kind, Random& random);

}  // namespace tdfs::test
