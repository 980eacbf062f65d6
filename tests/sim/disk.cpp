#include "tests/sim/disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "tests/sim/tree_read.hpp"
#include "tests/sim/world.hpp"

namespace tdfs::sim {

namespace {

constexpr std::size_t kSector = 512;
constexpr std::size_t kPage = 4096;

std::map<std::uint64_t, const Object*> by_ino(const Tree& tree) {
    std::map<std::uint64_t, const Object*> found;
    for (const auto& [path, object] : tree.objects()) found[object->ino] = object.get();
    return found;
}

void replace_content(int fd, const Bytes& data) {
    const Quiet quiet;
    const int writable = ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY | O_CLOEXEC);
    TDFS_INVARIANT(writable >= 0, "a file can be opened");
    TDFS_INVARIANT(::pwrite(writable, data.data(), data.size(), 0) == static_cast<ssize_t>(data.size()),
                   "a file can be shown as it is on the disk");
    ::close(writable);
}

}  // namespace

Disk::Disk(std::string dir, Random random) : dir_(std::move(dir)), random_(random), in_order_(random_.one_in(2)) {}

void Disk::begin() {
    lost_.clear();
    owed_.clear();
    errors_ = errors_told = 0;
    begin(true);
}

// All of what stands there is on the disk, or all but what is lost.
void Disk::begin(bool all_of_it) {
    const auto before = std::exchange(objects_, {});
    const auto births = births_;
    births_.clear();
    names_.clear();
    changes_.clear();
    const Tree tree = Tree::read(dir_, true);
    for (const auto& [path, object] : tree.objects()) {
        auto& kept = objects_[object->ino] = *object;
        if (!all_of_it && lost_.any_of(object->ino)) {
            const auto old = before.find(object->ino);
            const auto birth = births.find(object->ino);
            lost_.take_back(kept, *object,
                            old != before.end()     ? old->second
                            : birth != births.end() ? birth->second
                                                    : Object());
        }
        if (path.empty()) {
            root_ = object->ino;
            continue;
        }
        const auto slash = path.rfind('/');
        const auto parent = tree.find(slash == std::string::npos ? "" : path.substr(0, slash));
        names_[parent->ino][path.substr(slash == std::string::npos ? 0 : slash + 1)] = object->ino;
    }
}

void Disk::created(std::uint64_t ino, const std::string& path) {
    births_[ino] = *read_object(path, Follow::kNo);
    births_[ino].data.clear();
}

void Disk::renamed(std::vector<Entry> entries, std::vector<std::uint64_t> objects) {
    changes_.push_back({std::move(entries), std::move(objects)});
}

// What was made in a directory needs the directory; what names a thing again needs what named it before.
bool Disk::depends(const Change& later, const Change& earlier) {
    const auto has = [](const std::vector<std::uint64_t>& all, std::uint64_t one) {
        return std::find(all.begin(), all.end(), one) != all.end();
    };
    for (const auto object : later.objects) {
        if (has(earlier.objects, object)) return true;
    }
    for (const auto& entry : later.entries) {
        if (has(earlier.objects, entry.directory)) return true;
        for (const auto& before : earlier.entries) {
            if (has(later.objects, before.directory)) return true;
            if (entry.directory == before.directory && entry.name == before.name) return true;
        }
    }
    return false;
}

void Disk::carry_out(const Change& change) {
    for (const auto& entry : change.entries) {
        if (entry.ino == 0) {
            names_[entry.directory].erase(entry.name);
        } else {
            names_[entry.directory][entry.name] = entry.ino;
        }
    }
}

void Disk::settle(const std::vector<bool>& chosen) {
    std::vector<Change> left;
    for (std::size_t i = 0; i < changes_.size(); ++i) {
        if (chosen[i]) {
            carry_out(changes_[i]);
        } else {
            left.push_back(std::move(changes_[i]));
        }
    }
    changes_ = std::move(left);
}

void Disk::keep(const Object& now) {
    Object kept = now;
    lost_.take_back(kept, now, on_disk(now.ino));
    objects_[now.ino] = std::move(kept);
}

// Nothing: a file that never had a name, or was made and not synced.
const Object& Disk::on_disk(std::uint64_t ino) const {
    static const Object kNothing;
    if (const auto old = objects_.find(ino); old != objects_.end()) return old->second;
    const auto birth = births_.find(ino);
    return birth == births_.end() ? kNothing : birth->second;
}

void Disk::lose(const Object& now, Random& chance) {
    lost_.lose(now, on_disk(now.ino), chance);
    owed_.insert(now.ino);
}

void Disk::lose_file(int fd, Random& chance) {
    lose(*read_object("/proc/self/fd/" + std::to_string(fd), Follow::kYes), chance);
    ++errors_;
}

void Disk::lose_some(Random& chance) {
    const Tree tree = Tree::read(dir_, true);
    const auto share = chance.between(1, 4);
    for (const auto& [ino, object] : by_ino(tree)) {
        if (object->is_regular() && object->data != on_disk(ino).data && chance.one_in(share)) lose(*object, chance);
    }
    ++errors_;
}

bool Disk::owes_error(std::uint64_t ino, bool told) {
    const bool owes = owed_.contains(ino);
    if (told) owed_.erase(ino);
    return owes;
}

void Disk::drop_cache(int fd) {
    const auto now = read_object("/proc/self/fd/" + std::to_string(fd), Follow::kYes);
    if (!lost_.any_of(now->ino)) return;
    Object shown = *now;
    lost_.take_back(shown, *now, on_disk(now->ino));
    lost_.clear(now->ino);
    if (shown.data == now->data) return;
    replace_content(fd, shown.data);
}

void Disk::sync_file(int fd) {
    keep(*read_object("/proc/self/fd/" + std::to_string(fd), Follow::kYes));
    if (in_order_) settle(std::vector<bool>(changes_.size(), true));
}

void Disk::sync_directory(int fd) {
    const auto object = read_object("/proc/self/fd/" + std::to_string(fd), Follow::kYes);
    keep(*object);
    std::vector<bool> chosen(changes_.size(), in_order_);
    for (std::size_t i = changes_.size(); i-- > 0 && !in_order_;) {
        const auto& entries = changes_[i].entries;
        chosen[i] = std::any_of(entries.begin(), entries.end(),
                                [&](const Entry& entry) { return entry.directory == object->ino; });
        for (std::size_t j = i + 1; j < changes_.size() && !chosen[i]; ++j) {
            chosen[i] = chosen[j] && depends(changes_[j], changes_[i]);
        }
    }
    settle(chosen);
}

void Disk::sync_all() { begin(false); }

void Disk::write_back() {
    if (!changes_.empty()) {
        std::vector<bool> chosen(changes_.size());
        std::fill_n(chosen.begin(), random_.below(changes_.size() + 1), true);
        settle(chosen);
    }
    const Tree tree = Tree::read(dir_, true);
    for (const auto& [path, object] : tree.objects()) {
        if (!random_.one_in(4)) continue;
        const auto old = objects_.find(object->ino);
        auto mixed = merged(old == objects_.end() ? nullptr : &old->second, object.get());
        objects_[object->ino] = std::move(mixed);
    }
}

// `old` is on the disk (null: only that it was made), `now` is what the kernel showed (null: it had no name any more).
Object Disk::merged(const Object* old, const Object* now) {
    if (now == nullptr) return *old;
    Object result = *now;
    if (old == nullptr) {
        const auto birth = births_.find(now->ino);
        old = birth == births_.end() ? now : &birth->second;
    }
    if (random_.one_in(2)) {
        result = *old;
        result.ino = now->ino;
    }
    if (!now->is_regular()) return result;
    result.sparse_bytes = now->sparse_bytes;

    // In place: each sector old or new. Beyond the old end: new pages up to some point.
    result.data = old->data;
    const auto mood = random_.below(3);
    const auto common = std::min(old->data.size(), now->data.size());
    for (std::size_t at = 0; at < common; at += kSector) {
        const auto n = std::min(kSector, common - at);
        if (std::equal(&now->data[at], &now->data[at] + n, &old->data[at])) continue;
        if (mood == 0 || (mood == 1 && random_.one_in(2))) std::copy_n(&now->data[at], n, &result.data[at]);
    }
    if (now->data.size() < old->data.size()) {
        if (random_.one_in(2)) result.data.resize(now->data.size());
    } else if (now->data.size() > old->data.size()) {
        const auto grown = now->data.size() - old->data.size();
        const auto pages = grown / kPage + 1;
        const auto kept = random_.one_in(2) ? grown : std::min(grown, random_.below(pages + 1) * kPage);
        result.data.insert(result.data.end(), now->data.begin() + static_cast<std::ptrdiff_t>(old->data.size()),
                           now->data.begin() + static_cast<std::ptrdiff_t>(old->data.size() + kept));
    }
    lost_.take_back(result, *now, *old);
    return result;
}

void Disk::cut_power() {
    const Quiet quiet;
    const Tree tree = Tree::read(dir_, true);
    std::vector<bool> chosen(changes_.size());
    if (in_order_) {
        std::fill_n(chosen.begin(), random_.below(changes_.size() + 1), true);
    } else {
        const auto lost_in = random_.between(2, 6);
        for (std::size_t i = 0; i < chosen.size(); ++i) {
            chosen[i] = !random_.one_in(lost_in);
            for (std::size_t j = 0; j < i && chosen[i]; ++j) {
                chosen[i] = chosen[j] || !depends(changes_[i], changes_[j]);
            }
        }
    }
    settle(chosen);
    rebuild(by_ino(tree));
    begin();
}

void Disk::rebuild(const std::map<std::uint64_t, const Object*>& now) {
    remove_content(dir_);
    std::map<std::uint64_t, std::string> made;
    rebuild_directory(root_, dir_, now, made);
}

void Disk::rebuild_directory(std::uint64_t ino, const std::string& path,
                             const std::map<std::uint64_t, const Object*>& now,
                             std::map<std::uint64_t, std::string>& made) {
    for (const auto& [name, child] : names_[ino]) {
        const std::string at = path + "/" + name;
        if (const auto other = made.find(child); other != made.end()) {
            TDFS_INVARIANT(::link(other->second.c_str(), at.c_str()) == 0, "a second name can be made again");
            continue;
        }
        const auto old = objects_.find(child);
        const auto birth = births_.find(child);
        const auto current = now.find(child);
        const Object* before = old != objects_.end() ? &old->second : birth != births_.end() ? &birth->second : nullptr;
        const Object object = merged(before, current == now.end() ? nullptr : current->second);
        make_object(at, object);
        made[child] = at;
        if (object.is_dir()) rebuild_directory(child, at, now, made);
        set_times(at, object);
    }
}

}  // namespace tdfs::sim
