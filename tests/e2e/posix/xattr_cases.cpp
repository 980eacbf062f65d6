// Extended attributes and access control lists.

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/e2e/posix/probe.hpp"

namespace tdfs::e2e {
namespace {

// All names (sorted: their order is the file system's) with their values.
void attributes(Probe& p, const std::string& path) {
    std::vector<char> list(1 << 16);
    const ssize_t size = llistxattr(path.c_str(), list.data(), list.size());
    if (size < 0) {
        p.note("llistxattr " + path, strerrorname_np(errno));
        return;
    }
    std::vector<std::string> names;
    for (const char* at = list.data(); at < list.data() + size; at += std::strlen(at) + 1) {
        names.emplace_back(at);
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
        std::vector<char> value(1 << 16);
        const ssize_t n = lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        std::string hex;
        for (ssize_t i = 0; i < std::min<ssize_t>(n, 64); i++) {
            const auto byte = static_cast<unsigned char>(value[static_cast<std::size_t>(i)]);
            hex += "0123456789abcdef"[byte >> 4];
            hex += "0123456789abcdef"[byte & 15];
        }
        p.note(path + " " + name, n < 0 ? strerrorname_np(errno) : std::to_string(n) + " " + hex);
    }
}

void extended_attributes(Probe& p) {
    const std::string large(3000, 'v'), too_large(70000, 'v'), not_for_ext4(60000, 'v');
    const std::string name_255 = "user." + std::string(250, 'n'), name_256 = name_255 + "n";
    for (const char* path : {"file", "dir", "link", "fifo", "theirs", "readable", "sticky", "missing"}) {
        for (const char* name : {"user.a", "user.", "trusted.a", "security.a", "system.a", "nothing", "other.a", ""}) {
            p.call(std::string("lsetxattr ") + path + " " + name, lsetxattr(path, name, "value", 5, 0));
            char value[16];
            p.call("lgetxattr", lgetxattr(path, name, value, sizeof value));
        }
        p.call("create existing", lsetxattr(path, "user.a", "v", 1, XATTR_CREATE));
        p.call("replace missing", lsetxattr(path, "user.b", "v", 1, XATTR_REPLACE));
        p.call("create", lsetxattr(path, "user.b", "value of b", 10, XATTR_CREATE));
        p.call("replace", lsetxattr(path, "user.b", "B", 1, XATTR_REPLACE));
        p.call("wrong flags", lsetxattr(path, "user.b", "B", 1, 4));
        p.call("empty value", lsetxattr(path, "user.empty", "", 0, 0));
        p.call("bytes", lsetxattr(path, "user.\xff\xfe", "\0\1\xff", 3, 0));
        p.call("large", lsetxattr(path, "user.large", large.data(), large.size(), 0));
        p.call("too large", lsetxattr(path, "user.large", too_large.data(), too_large.size(), 0));
        p.call("more than a block", lsetxattr(path, "user.large", not_for_ext4.data(), not_for_ext4.size(), 0));
        p.call("long name", lsetxattr(path, name_255.c_str(), "v", 1, 0));
        p.call("too long name", lsetxattr(path, name_256.c_str(), "v", 1, 0));
        attributes(p, path);
        char small[2];
        p.call("get into too little", lgetxattr(path, "user.large", small, sizeof small));
        p.call("ask for the size", lgetxattr(path, "user.large", nullptr, 0));
        p.call("list into too little", llistxattr(path, small, sizeof small));
        p.call("get missing", lgetxattr(path, "user.missing", small, sizeof small));
        p.call("remove", lremovexattr(path, "user.b"));
        p.call("remove again", lremovexattr(path, "user.b"));
        p.call("remove trusted", lremovexattr(path, "trusted.a"));
        attributes(p, path);
    }
    const int fd = p.open("file", O_RDONLY);
    DO(p, fsetxattr(fd, "user.by descriptor", "x", 1, 0));
    DO(p, fremovexattr(fd, "user.a"));
    DO(p, setxattr("link", "user.followed", "x", 1, 0));
    DO(p, link("file", "hard"));
    attributes(p, "hard");
    DO(p, unlink("file"));
    DO(p, fsetxattr(fd, "user.by the other name", "x", 1, 0));
    attributes(p, "hard");
}

void prepare_attributes(Probe& p) {
    p.make("file");
    p.make("readable");
    p.make("theirs", "x", 0600);
    p.must(mkdir("dir", 0755) == 0 && symlink("file", "link") == 0 && mkfifo("fifo", 0644) == 0 &&
               mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0,
           "make");
    p.must(chown("file", kUserId, kUserGroup) == 0 && chown("dir", kUserId, kUserGroup) == 0 &&
               lchown("link", kUserId, kUserGroup) == 0 && chown("fifo", kUserId, kUserGroup) == 0,
           "chown");
}

// File capabilities vanish when the file is written.
void capabilities(Probe& p) {
    attributes(p, "capable");
    attributes(p, "capable too");
    const int fd = p.open("capable", O_WRONLY);
    DO(p, write(fd, "x", 1));
    attributes(p, "capable");
    DO(p, truncate("capable too", 0));
    attributes(p, "capable too");
    DO(p, chown("capable three", static_cast<uid_t>(-1), static_cast<gid_t>(-1)));
    attributes(p, "capable three");
}

void prepare_capabilities(Probe& p) {
    // struct vfs_cap_data, revision 2: cap_net_raw permitted and effective
    const unsigned char value[20] = {1, 0, 0, 2, 0, 0x20};
    for (const char* name : {"capable", "capable too", "capable three"}) {
        p.make(name, "program", 0777);
        p.must(setxattr(name, "security.capability", value, sizeof value, 0) == 0, "setxattr");
    }
}

// The kernel's form of a list: version 2, then (tag, permissions, id) each.
struct Entry {
    std::uint16_t tag, permissions;
    std::uint32_t id = 0xffffffff;
};
constexpr std::uint16_t kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 16, kOther = 32;

std::string acl(const std::vector<Entry>& entries) {
    std::string bytes("\2\0\0\0", 4);
    for (const Entry& e : entries) {
        for (const unsigned value : {unsigned{e.tag}, unsigned{e.permissions}}) {
            bytes += static_cast<char>(value & 0xff);
            bytes += static_cast<char>(value >> 8);
        }
        for (int shift = 0; shift < 32; shift += 8) {
            bytes += static_cast<char>((e.id >> shift) & 0xff);
        }
    }
    return bytes;
}

constexpr char kAccess[] = "system.posix_acl_access";
constexpr char kDefault[] = "system.posix_acl_default";

long set_acl(const std::string& path, const char* which, const std::string& list) {
    return setxattr(path.c_str(), which, list.data(), list.size(), 0);
}

void access_lists(Probe& p) {
    const std::string named =
        acl({{kUserObj, 7}, {kUser, 6, kOtherId}, {kGroupObj, 5}, {kGroup, 4, kSecondGroup}, {kMask, 6}, {kOther, 0}});
    const std::string minimal = acl({{kUserObj, 6}, {kGroupObj, 4}, {kOther, 0}});
    const std::string inherited = acl({{kUserObj, 7}, {kUser, 7, kOtherId}, {kGroupObj, 5}, {kMask, 7}, {kOther, 5}});
    const std::string broken = acl({{kUserObj, 7}, {kUser, 6, kOtherId}, {kGroupObj, 5}, {kOther, 0}});  // no mask
    for (const char* path : {"file", "dir", "theirs", "link", "missing"}) {
        for (const std::string& list : {named, minimal, broken, std::string("x"), std::string(), named}) {
            p.call(std::string("set access list of ") + path, set_acl(path, kAccess, list));
            p.stat(path);
            attributes(p, path);
        }
        p.call("set default list", set_acl(path, kDefault, inherited));
        attributes(p, path);
    }
    DO(p, chmod("file", 0751));  // changes the mask, not the group's entry
    p.stat("file");
    attributes(p, "file");
    DO(p, removexattr("file", kAccess));
    DO(p, removexattr("file", kAccess));
    p.stat("file");
    attributes(p, "file");

    // A default list takes the place of the umask.
    p.must(mkdir("parent", 0755) == 0, "mkdir");
    p.call("set default list", set_acl("parent", kDefault, inherited));
    for (const mode_t mask : {022u, 077u}) {
        umask(mask);
        for (const mode_t mode : {0777u, 0666u, 0600u, 0640u}) {
            const std::string name = "parent/" + std::to_string(mask) + "_" + std::to_string(mode);
            close(p.open(name, O_WRONLY | O_CREAT, mode));
            p.call("mkdir", mkdir((name + "d").c_str(), mode));
            p.call("mknod", mknod((name + "p").c_str(), S_IFIFO | mode, 0));
            p.call("symlink", symlink("x", (name + "s").c_str()));
            for (const char* kind : {"", "d", "p", "s"}) {
                p.stat(name + kind);
                attributes(p, name + kind);
            }
        }
        const int fd = p.open("parent", O_TMPFILE | O_RDWR, 0666);
        p.fstat("temporary", fd);
    }
    umask(022);
    DO(p, mkdir("parent/63_511d/below", 0777));
    attributes(p, "parent/63_511d/below");
    DO(p, removexattr("parent", kDefault));
    DO(p, mkdir("parent/after", 0777));
    attributes(p, "parent/after");
}

void prepare_lists(Probe& p) {
    p.make("file");
    p.make("theirs");
    p.must(mkdir("dir", 0755) == 0 && symlink("file", "link") == 0 && chown("file", kUserId, kUserGroup) == 0 &&
               chown("dir", kUserId, kUserGroup) == 0,
           "make");
}

// What lists allow and forbid is enforced.
void access_by_list(Probe& p) {
    for (const char* path : {"for the user", "for a group", "masked", "not for the user"}) {
        p.open(path, O_RDONLY);
        p.open(path, O_RDWR);
        p.call("access", access(path, R_OK | W_OK));
        p.call("truncate", truncate(path, 3));
    }
    p.open("dir/new", O_WRONLY | O_CREAT);
    DO(p, unlink("dir/theirs"));
    p.stat("dir/new");
}

void prepare_access(Probe& p) {
    const auto with = [&](const char* path, const std::vector<Entry>& list) {
        p.make(path, "content", 0600);
        p.must(set_acl(path, kAccess, acl(list)) == 0, path);
    };
    with("for the user", {{kUserObj, 6}, {kUser, 6, kUserId}, {kGroupObj, 0}, {kMask, 6}, {kOther, 0}});
    with("for a group", {{kUserObj, 6}, {kGroupObj, 0}, {kGroup, 6, kSecondGroup}, {kMask, 6}, {kOther, 0}});
    with("masked", {{kUserObj, 6}, {kUser, 6, kUserId}, {kGroupObj, 6}, {kMask, 4}, {kOther, 0}});
    with("not for the user", {{kUserObj, 6}, {kUser, 0, kUserId}, {kGroupObj, 6}, {kMask, 6}, {kOther, 6}});
    p.must(mkdir("dir", 0700) == 0, "mkdir");
    p.make("dir/theirs");
    p.must(set_acl("dir", kAccess,
                   acl({{kUserObj, 7}, {kUser, 7, kUserId}, {kGroupObj, 0}, {kMask, 7}, {kOther, 0}})) == 0,
           "dir");
}

const AddCase kCases[] = {
    AddCase{{"extended attributes", extended_attributes, prepare_attributes}},
    AddCase{{"capabilities", capabilities, prepare_capabilities}},
    AddCase{{"access control lists", access_lists, prepare_lists}},
    AddCase{{"access by list", access_by_list, prepare_access}},
};

}  // namespace
}  // namespace tdfs::e2e
