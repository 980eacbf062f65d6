// Owner, mode, size, times and extended attributes.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <thread>

#include "tests/unit/master/fixture.hpp"

using namespace tdfs;
using tdfs::test::Master;
using tdfs::test::NoMoreDescriptors;

namespace {
// From here on the calling thread's chmods answer EIO.
bool chmod_fails() {
    std::array<sock_filter, 5> code{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_chmod, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fchmodat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
}  // namespace

TEST_CASE("an access list that was set is recorded though the mode cannot follow") {
    Master m;
    const char* const name = "a name that is too long to be kept within a string";
    const auto f = m.must_make(m.root(), name, S_IFREG | S_ISGID | 0770);
    // u::rwx u:1:r-- g::r-x m::r-x o::---
    const std::string acl(
        "\x02\0\0\0"
        "\x01\0\x07\0\xff\xff\xff\xff"
        "\x02\0\x04\0\x01\0\0\0"
        "\x04\0\x05\0\xff\xff\xff\xff"
        "\x10\0\x05\0\xff\xff\xff\xff"
        "\x20\0\0\0\xff\xff\xff\xff",
        44);
    SysResult<void> set;
    std::thread([&] {
        REQUIRE(chmod_fails());
        set = m.fs->set_xattr(f.node, "system.posix_acl_access", as_bytes(acl), 0, true);
    }).join();
    REQUIRE_FALSE(set);
    if (set.error().value() == EOPNOTSUPP) return;  // no such thing in the directory of this test
    CHECK(set.error().value() == EIO);
    CHECK((stat_at(m.backing.fd(), name)->mode & 07777) == 02750);
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("attributes of a file that is open need no further descriptor") {
    Master m;
    auto file = m.must_create(m.root(), "file", O_WRONLY);
    AttributeChange change;
    change.valid = AttributesRecord::kMode | AttributesRecord::kMtime | AttributesRecord::kSize;
    change.mode = 0600;
    change.mtime_ns = 1'000'000'000;
    change.size = 10;
    // Looked at afterwards: checks of a sanitizer's need descriptors, too.
    SysResult<FileInfo> set = fail(EIO);
    SysResult<void> given = fail(EIO), removed = fail(EIO);
    SysResult<Bytes> value = fail(EIO);
    SysResult<std::vector<std::string>> names = fail(EIO);
    {
        const NoMoreDescriptors none;
        set = m.fs->set_attributes(file->node, nullptr, change);
        given = m.fs->set_xattr(file->node, "user.a", as_bytes("b"), 0, false);
        value = m.fs->get_xattr(file->node, "user.a");
        names = m.fs->list_xattrs(file->node);
        removed = m.fs->remove_xattr(file->node, "user.a");
    }
    REQUIRE(set);
    CHECK((set->mode & 07777) == 0600);
    CHECK(given);
    CHECK(value.value() == Bytes{std::byte{'b'}});
    CHECK(names.value() == std::vector<std::string>{"user.a"});
    CHECK(removed);
    m.fs->close(std::move(file));
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

// A descriptor's number is soon that of another file.
TEST_CASE("attributes go to their file while others open and close it") {
    Master m;
    const auto file = m.must_make(m.root(), "file", S_IFREG | 0600);
    const auto bystander = m.must_make(m.root(), "bystander", S_IFREG | 0644);
    std::atomic<bool> done{false};
    const auto come_and_go = [&](Node* node) {
        while (!done) {
            auto opened = m.fs->open(node, O_RDONLY);
            if (opened) m.fs->close(std::move(*opened));
        }
    };
    std::thread one(come_and_go, file.node), other(come_and_go, bystander.node);
    std::size_t wrong = 0;
    for (std::uint32_t i = 0; i < 2000; ++i) {
        AttributeChange change;
        change.valid = AttributesRecord::kMode;
        change.mode = 0400 | (i & 0333);
        const auto set = m.fs->set_attributes(file.node, nullptr, change);
        if (!set || set->object != file.info.object || (set->mode & 07777) != change.mode) ++wrong;
        if (!m.fs->set_xattr(file.node, "user.n", as_bytes(std::to_string(i)), 0, false)) ++wrong;
    }
    done = true;
    one.join();
    other.join();
    CHECK(wrong == 0);
    CHECK((m.fs->attributes(bystander.node)->mode & 07777) == 0644);
    CHECK(m.fs->list_xattrs(bystander.node)->empty());
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}

TEST_CASE("set-id bits go when someone who may not keep them writes") {
    Master m;
    auto f = m.must_create(m.root(), "f");
    AttributeChange change;
    change.valid = AttributesRecord::kMode;
    change.mode = 06755;
    CHECK(m.fs->set_attributes(f->node, nullptr, change));
    CHECK(m.fs->write(*f, as_bytes("root keeps them"), 0, {}));
    CHECK((m.fs->attributes(f->node).value().mode & 07777) == 06755);
    const InGroup nobody = [](gid_t) { return false; };
    CHECK(m.fs->write(*f, as_bytes("others do not"), 0, {.kill_suidgid = &nobody}));
    CHECK((m.fs->attributes(f->node).value().mode & 07777) == 0755);
    m.fs->close(std::move(f));
    m.settler->settle_all();
    CHECK(m.differences_after_replay() == "");
}
