// The session's set-up: what is agreed with the kernel, and the table of operations.
#include "master/fuse_ops.hpp"

#include <algorithm>
#include <limits>

#include <spdlog/spdlog.h>

#include "master/fuse_reply.hpp"
#include "proto/record.hpp"

namespace tdfs {

#ifdef TDFS_FUSE_317
const bool FuseFeatures::kTmpfile = true;
#else
const bool FuseFeatures::kTmpfile = false;
#endif
#ifdef TDFS_FUSE_318
const bool FuseFeatures::kKillSuidgid = true;
const bool FuseFeatures::kStatx = true;
#else
const bool FuseFeatures::kKillSuidgid = false;
const bool FuseFeatures::kStatx = false;
#endif

namespace fuse {

namespace {

constexpr std::uint32_t kMaxBackground =
    std::numeric_limits<std::uint16_t>::max();  // as many as the protocol can ask for

void init(void* userdata, fuse_conn_info* conn) {
    auto& self = *static_cast<FuseMount*>(userdata);
    const auto want = [&](auto flag) {
#ifdef TDFS_FUSE_317
        return fuse_set_feature_flag(conn, flag);
#else
        if ((conn->capable & flag) == 0) return false;
        conn->want |= static_cast<unsigned>(flag);
        return true;
#endif
    };
    const auto refuse = [&](auto flag) {
#ifdef TDFS_FUSE_317
        fuse_unset_feature_flag(conn, flag);
#else
        conn->want &= ~static_cast<unsigned>(flag);
#endif
    };
    self.features().acl = want(FUSE_CAP_POSIX_ACL);
    want(FUSE_CAP_DONT_MASK);
    want(FUSE_CAP_PARALLEL_DIROPS);
    want(FUSE_CAP_CACHE_SYMLINKS);
    want(FUSE_CAP_ASYNC_READ);
    want(FUSE_CAP_READDIRPLUS);
    want(FUSE_CAP_READDIRPLUS_AUTO);
    self.features().opens_directories = self.file_system().streams_have_no_state() && want(FUSE_CAP_NO_OPENDIR_SUPPORT);
#ifdef TDFS_FUSE_318
    self.features().kill_privileges = want(FUSE_CAP_HANDLE_KILLPRIV_V2);
#endif
    refuse(FUSE_CAP_ATOMIC_O_TRUNC);  // truncation comes as an operation of its own
    if (self.features().writeback && want(FUSE_CAP_WRITEBACK_CACHE)) {
        self.file_system().let_kernel_cache_writes();
    } else {
        refuse(FUSE_CAP_WRITEBACK_CACHE);  // order of writes would be lost
        if (self.features().writeback.exchange(false)) spdlog::warn("writeback error=\"the kernel does not offer it\"");
    }
#ifdef FUSE_CAP_OVER_IO_URING
    if ((conn->capable_ext & FUSE_CAP_OVER_IO_URING) == 0) self.features().io_uring = false;
#endif
    refuse(FUSE_CAP_AUTO_INVAL_DATA);  // nobody else changes the files
    refuse(FUSE_CAP_SPLICE_READ);
    refuse(FUSE_CAP_SPLICE_WRITE);
    conn->max_write =
        std::min<unsigned>(conn->max_write == 0 ? kMaxWriteBytes : std::max(conn->max_write, 1u << 20), kMaxWriteBytes);
    conn->max_readahead = 1 << 20;
    // Parked writes of asynchronous I/O count as background requests, of which the kernel allows a dozen unless asked:
    // then all readahead would wait as well.
    if (self.sync_gate().on()) conn->max_background = kMaxBackground;
    conn->time_gran = 1;
    self.features().max_write = conn->max_write;
}

}  // namespace
}  // namespace fuse

const fuse_lowlevel_ops& fuse_operations() {
    static const fuse_lowlevel_ops operations = [] {
        fuse_lowlevel_ops o{};
        o.init = fuse::init;
        fuse::set_name_operations(o);
        fuse::set_file_operations(o);
        fuse::set_attribute_operations(o);
        fuse::set_directory_operations(o);
        return o;
    }();
    return operations;
}

}  // namespace tdfs
