// How a change of an object's content or attributes is carried out: with the object locked, and again where it could not be yet.
#pragma once

#include "master/file_system.hpp"

namespace tdfs {

// Runs `change` with the object locked, `names`: a directory's names as well. Again after a search where it needs a name that is
// not known (EAGAIN, see recorded_path()); and once more where the disk is full (ENOSPC) of history that is kept for times which
// are not settled yet: a writer can be faster than the settler.
template <class Change>
auto FileSystem::with_object(Node* node, Change&& change, bool names) {
    constexpr int kMostTries = 8;  // the name that was found may be gone again, or EAGAIN the file system's own
    bool settled = false;
    auto search = Search::kAmongOthers;
    for (int tries = 1;; ++tries) {
        Errno error(0);
        {
            OpLock lock(locks_);
            if (names) lock.change_directory(node->id.ino);
            lock.change_object(node->id.ino);
            auto result = change();
            if (result || tries == kMostTries) return result;
            error = result.error();
            if (error == Errno(ENOSPC) ? settled : error != Errno(EAGAIN)) return result;
        }
        if (error == Errno(ENOSPC)) {
            settler_.settle_all();
            settled = true;
        } else if (const auto found = find_name(node, search); found) {
            search = Search::kAmongOthers;
        } else if (search == Search::kAmongOthers) {
            search = Search::kAlone;
        } else {
            return decltype(change())(fail(found.error()));
        }
    }
}

}  // namespace tdfs
