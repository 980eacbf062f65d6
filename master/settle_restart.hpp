// What the last run had changed and not settled, killed or kept from it by a disk that did not answer, is found in the
// journal and settled before new changes come.
#pragma once

#include <optional>

#include "common/journal/journal.hpp"
#include "master/mutator.hpp"

namespace tdfs {

// Records the present modification time of every object that the journal from `from` to its tail touched and that is
// still there. Before the mount. Returns how many; nothing where the journal is damaged on the way, so that nobody can
// tell what was touched: then the slaves must be resynced.
Result<std::optional<std::size_t>, JournalError> settle_at_restart(int root, Journal& journal, Mutator& mutator,
                                                                   Lsn from);

}  // namespace tdfs
