#include "tests/sim/workload.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include "proto/path.hpp"

namespace tdfs::sim {

namespace {
constexpr std::uint64_t kMs = 1'000'000;
constexpr std::size_t kNames = 7;  // in a directory
constexpr std::size_t kMaxDepth = 3;
constexpr std::uint64_t kMaxFileBytes = 24 * 1024;
}  // namespace

class Workload::Found {
  public:
    Found(FileSystem& fs, NodeTable& nodes, const std::string& path) : fs_(fs), node_(nodes.root()) {
        for (std::size_t begin = 0; begin < path.size() && node_ != nullptr;) {
            const auto end = std::min(path.find('/', begin), path.size());
            const auto found = fs_.lookup(node_, path.substr(begin, end - begin).c_str());
            node_ = found ? found->node : nullptr;
            if (found) held_.push_back(found->node);
            begin = end + 1;
        }
    }
    ~Found() {
        for (Node* node : held_) fs_.forget(node, 1);
    }
    Found(const Found&) = delete;
    Found& operator=(const Found&) = delete;
    explicit operator bool() const { return node_ != nullptr; }
    operator tdfs::Node*() const { return node_; }  // NOLINT(*-explicit-*): it stands for the node

  private:
    using Node = tdfs::Node;
    FileSystem& fs_;
    Node* node_;
    std::vector<Node*> held_;
};

Workload::Workload(Cluster& cluster, FileSystem& fs, NodeTable& nodes, Random random)
    : cluster_(cluster), fs_(fs), nodes_(nodes), random_(random) {}

void Workload::run() {
    const auto& node = cluster_.node(0);
    while (!node.stop_asked) {
        if (!cluster_.wants_work()) {
            cluster_.world().scheduler.block([&node] { return node.stop_asked; }, kNever);
            continue;
        }
        one();
        cluster_.operation_done();
        pause();
    }
}

void Workload::pause() {
    auto& scheduler = cluster_.world().scheduler;
    const auto ns = random_.one_in(12) ? random_.between(50, 300) * kMs : random_.below(20) * kMs;
    scheduler.block([] { return false; }, scheduler.now() + ns);
}

void Workload::one() {
    cluster_.begin_operation();
    switch (random_.below(16)) {
        case 0:
        case 1:
        case 2:
            return make();
        case 3:
        case 4:
        case 5:
        case 6:
            return write();
        case 7:
            return change_attributes();
        case 8:
            return change_xattr();
        case 9:
        case 10:
        case 11:
            return link_or_rename();
        case 12:
            return remove();
        case 13:
            return sync();
        case 14:
            return unnamed();
        default:
            return copy();
    }
}

std::string Workload::any_path(bool (Object::*is)() const) {
    std::vector<const std::string*> fit;
    for (const auto& [path, object] : cluster_.tree().objects()) {
        if ((object.get()->*is)() && !is_within(path, kStateName)) fit.push_back(&path);
    }
    if (fit.empty()) return "";
    const std::string path = *fit[random_.below(fit.size())];
    if (!path.empty()) cluster_.works_on(path);
    return path;
}

std::string Workload::any_name() {
    std::string dir;
    do {
        dir = any_path(&Object::is_dir);
    } while (static_cast<std::size_t>(std::count(dir.begin(), dir.end(), '/')) >= kMaxDepth);
    const auto path = join(dir, std::string(1, static_cast<char>('a' + random_.below(kNames))));
    cluster_.works_on(path);
    return path;
}

Bytes Workload::any_bytes() {
    Bytes bytes(random_.one_in(4) ? random_.between(1, 9000) : random_.between(1, 600));
    const auto fill = random_.next();
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(fill >> (i % 8 * 8));
    return bytes;
}

void Workload::make() {
    const auto path = any_name();
    const Found parent(fs_, nodes_, std::string(parent_of(path)));
    if (!parent) return;
    const std::string name(leaf_of(path));
    const auto mode = static_cast<mode_t>(0600 | random_.below(0100));
    switch (random_.below(6)) {
        case 0:
        case 1:
            if (auto made = fs_.make_node({}, parent, name.c_str(), S_IFDIR | 0700 | mode, 0)) {
                fs_.forget(made->node, 1);
            }
            return;
        case 2:
            if (auto made = fs_.symlink({}, parent, name.c_str(), "../some/where")) fs_.forget(made->node, 1);
            return;
        case 3:
            if (auto made = fs_.make_node({}, parent, name.c_str(), S_IFIFO | mode, 0)) fs_.forget(made->node, 1);
            return;
        default: {
            auto made = fs_.create({}, parent, name.c_str(), mode, O_RDWR);
            if (!made) return;
            if (random_.one_in(2)) static_cast<void>(fs_.write(*made->second, any_bytes(), 0, {}));
            fs_.close(std::move(made->second));
            fs_.forget(made->first.node, 1);
        }
    }
}

void Workload::write() {
    const Found node(fs_, nodes_, any_path(&Object::is_regular));
    if (!node || node == nodes_.root()) return;
    auto file = fs_.open(node, O_RDWR);
    if (!file) return;
    for (auto times = random_.between(1, 3); times > 0; --times) {
        FileSystem::WriteHow how;
        how.append = random_.one_in(3);
        if (random_.one_in(6)) {
            constexpr std::array<int, 3> kModes{0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
            static_cast<void>(fs_.fallocate(**file, kModes[random_.below(kModes.size())], random_.below(kMaxFileBytes),
                                            random_.between(1, 5000), nullptr));
        } else {
            static_cast<void>(fs_.write(**file, any_bytes(), random_.below(kMaxFileBytes / 2), how));
        }
        cluster_.operation_done();
    }
    fs_.close(std::move(*file));
}

void Workload::change_attributes() {
    const bool of_file = !random_.one_in(4);
    const auto path = any_path(of_file ? &Object::is_regular : &Object::is_dir);
    const Found node(fs_, nodes_, path);
    if (!node || path.empty()) return;
    AttributeChange change;
    if (random_.one_in(2)) {
        change.valid |= AttributesRecord::kMode;
        change.mode = static_cast<std::uint32_t>(0700 | random_.below(0100));
    }
    if (random_.one_in(3)) {
        change.valid |= AttributesRecord::kUid | AttributesRecord::kGid;
        change.uid = static_cast<std::uint32_t>(random_.below(3));
        change.gid = static_cast<std::uint32_t>(random_.below(3));
    }
    if (of_file && random_.one_in(2)) {
        change.valid |= AttributesRecord::kSize;
        change.size = random_.below(kMaxFileBytes / 2);
    }
    if (random_.one_in(3)) {
        change.valid |= AttributesRecord::kMtime;
        change.mtime_ns = static_cast<std::int64_t>(random_.below(1'700'000'000) * 1'000'000'000);
    }
    static_cast<void>(fs_.set_attributes(node, nullptr, change));
}

void Workload::change_xattr() {
    const auto path = any_path(random_.one_in(4) ? &Object::is_dir : &Object::is_regular);
    const Found node(fs_, nodes_, path);
    if (!node || path.empty()) return;
    const char* const name = random_.one_in(2) ? "user.one" : "user.other";
    if (random_.one_in(3)) {
        static_cast<void>(fs_.remove_xattr(node, name));
    } else {
        const auto value = any_bytes();
        static_cast<void>(
            fs_.set_xattr(node, name, ByteView(value).first(std::min<std::size_t>(value.size(), 100)), 0, false));
    }
}

void Workload::link_or_rename() {
    const auto to = any_name();
    const Found new_parent(fs_, nodes_, std::string(parent_of(to)));
    const std::string new_name(leaf_of(to));
    if (random_.one_in(4)) {
        const auto path = any_path(&Object::is_regular);
        const Found node(fs_, nodes_, path);
        if (!node || !new_parent || path.empty()) return;
        if (auto made = fs_.link(node, new_parent, new_name.c_str())) fs_.forget(made->node, 1);
        return;
    }
    const auto from = any_path(random_.one_in(3) ? &Object::is_dir : &Object::is_regular);
    const Found parent(fs_, nodes_, std::string(parent_of(from)));
    if (!parent || !new_parent || from.empty() || is_within(to, from)) return;
    const unsigned flags = random_.one_in(4) ? RENAME_EXCHANGE : random_.one_in(4) ? RENAME_NOREPLACE : 0;
    static_cast<void>(fs_.rename(parent, std::string(leaf_of(from)).c_str(), new_parent, new_name.c_str(), flags));
}

void Workload::remove() {
    const bool is_dir = random_.one_in(2);
    const auto path = any_path(is_dir ? &Object::is_dir : &Object::is_regular);
    const Found parent(fs_, nodes_, std::string(parent_of(path)));
    if (!parent || path.empty()) return;
    const std::string name(leaf_of(path));
    static_cast<void>(is_dir ? fs_.rmdir(parent, name.c_str()) : fs_.unlink(parent, name.c_str()));
}

// As a careful program does: the file, then every directory above it.
void Workload::sync() {
    const auto path = any_path(&Object::is_regular);
    const Found node(fs_, nodes_, path);
    if (!node || path.empty()) return;
    auto file = fs_.open(node, O_RDWR);
    if (!file) return;
    const auto& failed = cluster_.world().scheduler.current()->failed_syncs;
    const auto failed_before = failed;
    bool synced = fs_.fsync(**file, random_.one_in(2)).has_value();
    fs_.close(std::move(*file));
    for (std::string at = path; synced && !at.empty();) {
        at = parent_of(at);
        const Found dir(fs_, nodes_, at);
        if (!dir) return;
        auto opened = fs_.open_directory(dir);
        synced = opened && fs_.fsync_directory(**opened);
        if (opened) fs_.close_directory(std::move(*opened));
    }
    cluster_.operation_done();
    if (synced && failed != failed_before) cluster_.world().fail("an fsync failed, and " + path + " is called durable");
    if (synced) cluster_.synced(path);
}

// A file that gets its first name when it is whole.
void Workload::unnamed() {
    const auto to = any_name();
    const Found parent(fs_, nodes_, std::string(parent_of(to)));
    if (!parent) return;
    auto made = fs_.tmpfile({}, parent, 0640, O_RDWR);
    if (!made) return;
    static_cast<void>(fs_.write(*made->second, any_bytes(), random_.below(2000), {}));
    if (auto linked = fs_.link(made->first.node, parent, std::string(leaf_of(to)).c_str())) {
        fs_.forget(linked->node, 1);
    }
    fs_.close(std::move(made->second));
    fs_.forget(made->first.node, 1);
}

void Workload::copy() {
    const auto one = any_path(&Object::is_regular), other = any_path(&Object::is_regular);
    if (one.empty() || one == other) return;
    const Found from_node(fs_, nodes_, one), to_node(fs_, nodes_, other);
    if (!from_node || !to_node) return;
    auto from = fs_.open(from_node, O_RDONLY), to = fs_.open(to_node, O_RDWR);
    if (from && to) {
        static_cast<void>(
            fs_.copy_range(**from, random_.below(500), **to, random_.below(3000), random_.between(1, 5000), nullptr));
    }
    if (from) fs_.close(std::move(*from));
    if (to) fs_.close(std::move(*to));
}

}  // namespace tdfs::sim
