// The faults that can be built in, each where the linker leads the daemons' calls through the simulator.
#pragma once

#include <array>

namespace tdfs::sim {

inline constexpr std::array kMutations{
    "applied-before-effect",        // a slave's position moves before the record's effect (wrap_promises.cpp)
    "checkpoint-before-syncfs",     // a slave calls its tree durable without syncing it (wrap_syncs.cpp)
    "clean-stop-before-syncfs",     // a master stops in order without syncing its directory (wrap_syncs.cpp)
    "directory-sync-forgotten",     // names in the state directories are not made durable (wrap_syncs.cpp)
    "durable-before-fsync",         // journal and spool are called durable without a sync (wrap_syncs.cpp)
    "failed-fsync-taken-for-done",  // fsync of a file that fails is told to have gone well (wrap_syncs.cpp)
    "fsync-of-a-file-forgotten",    // fsync through the mount syncs nothing (wrap_syncs.cpp)
    "in-flight-forgotten",          // the master's table of operations under way stays empty (wrap_promises.cpp)
    "marked-before-effect",         // a worker's record counts as done before it is (wrap_promises.cpp)
    "note-forgotten",               // a slave does not note what it is about to do (wrap_promises.cpp)
    "resumes-one-record-late",      // a slave asks for the stream behind the record it needs (wrap_promises.cpp)
};

}  // namespace tdfs::sim
