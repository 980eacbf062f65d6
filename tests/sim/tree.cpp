#include "tests/sim/tree.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "proto/path.hpp"

namespace tdfs::sim {

bool Object::is_dir() const { return S_ISDIR(mode); }
bool Object::is_regular() const { return S_ISREG(mode); }

Tree::Tree() {
    objects_[""] = std::make_shared<Object>();
    objects_[""]->mode = S_IFDIR | 0755;
}

Tree Tree::copy() const {
    Tree other;
    std::map<const Object*, std::shared_ptr<Object>> copies;
    for (const auto& [path, object] : objects_) {
        auto& mine = copies[object.get()];
        if (!mine) mine = std::make_shared<Object>(*object);
        other.objects_[path] = mine;
    }
    return other;
}

const Object* Tree::find(const std::string& path) const {
    const auto it = objects_.find(path);
    return it == objects_.end() ? nullptr : it->second.get();
}

// Carries one record out; returns what is wrong with it.
struct Carry {
    std::map<std::string, std::shared_ptr<Object>>& objects;

    [[nodiscard]] Object* at(std::string_view path) const {
        const auto it = objects.find(std::string(path));
        return it == objects.end() ? nullptr : it->second.get();
    }
    [[nodiscard]] bool has_children(const std::string& path) const {
        const auto next = objects.lower_bound(path + "/");
        return next != objects.end() && next->first.starts_with(path + "/");
    }
    // Of a name that is to be: empty where its directory is there.
    [[nodiscard]] std::string no_home(std::string_view path) const {
        const auto home = parent_of(path);
        if (is_within(home, kStateName)) return "";  // the stage is always there
        const auto* const dir = at(home);
        return dir != nullptr && dir->is_dir() ? "" : "no directory for " + std::string(path);
    }
    static std::string none(std::string_view path) { return "nothing is called " + std::string(path); }

    // Takes everything at and beneath `from` out, with paths relative to it.
    std::vector<std::pair<std::string, std::shared_ptr<Object>>> take(const std::string& from) const {
        std::vector<std::pair<std::string, std::shared_ptr<Object>>> taken;
        taken.emplace_back("", objects.at(from));
        objects.erase(from);
        for (auto it = objects.lower_bound(from + "/"); it != objects.end() && it->first.starts_with(from + "/");) {
            taken.emplace_back(it->first.substr(from.size()), it->second);
            it = objects.erase(it);
        }
        return taken;
    }
    void put(const std::string& to, const std::vector<std::pair<std::string, std::shared_ptr<Object>>>& taken) const {
        for (const auto& [rest, object] : taken) objects[to + rest] = object;
    }

    std::string operator()(const CreateRecord& r) const {
        if (auto wrong = no_home(r.path); !wrong.empty()) return wrong;
        if (at(r.path) != nullptr) return std::string(r.path) + " is there already";
        auto object = std::make_shared<Object>();
        object->mode = r.mode;
        object->uid = r.uid;
        object->gid = r.gid;
        object->rdev = r.rdev;
        object->mtime_ns = r.mtime_ns;
        object->target = as_text(r.target);
        objects[std::string(r.path)] = std::move(object);
        return "";
    }
    std::string operator()(const LinkRecord& r) const {
        if (at(r.path) == nullptr) return none(r.path);
        if (at(r.new_path) != nullptr) return std::string(r.new_path) + " is there already";
        if (auto wrong = no_home(r.new_path); !wrong.empty()) return wrong;
        objects[std::string(r.new_path)] = objects.at(std::string(r.path));
        return "";
    }
    std::string operator()(const UnlinkRecord& r) const {
        const auto* const object = at(r.path);
        if (object == nullptr || object->is_dir()) return none(r.path);
        objects.erase(std::string(r.path));
        return "";
    }
    std::string operator()(const RmdirRecord& r) const {
        const auto* const object = at(r.path);
        if (object == nullptr || !object->is_dir()) return none(r.path);
        if (has_children(std::string(r.path))) return std::string(r.path) + " is not empty";
        objects.erase(std::string(r.path));
        return "";
    }
    std::string operator()(const RenameRecord& r) const {
        const std::string from(r.path), to(r.new_path);
        if (at(from) == nullptr) return none(from);
        if (auto wrong = no_home(to); !wrong.empty()) return wrong;
        if (r.exchange) {
            if (at(to) == nullptr) return none(to);
            const auto one = take(from), other = take(to);
            put(to, one);
            put(from, other);
            return "";
        }
        if (has_children(to)) return to + " is not empty";
        const auto taken = take(from);
        objects.erase(to);
        put(to, taken);
        return "";
    }
    std::string operator()(const WriteRecord& r) const {
        auto* const object = at(r.path);
        if (object == nullptr || !object->is_regular()) return none(r.path);
        if (r.data.empty()) return "";
        if (object->data.size() < r.offset + r.data.size()) object->data.resize(r.offset + r.data.size());
        std::copy(r.data.begin(), r.data.end(), object->data.begin() + static_cast<std::ptrdiff_t>(r.offset));
        return "";
    }
    std::string operator()(const FallocateRecord& r) const {
        constexpr std::uint32_t kKeepSize = 1, kPunchHole = 2;
        auto* const object = at(r.path);
        if (object == nullptr || !object->is_regular()) return none(r.path);
        const auto end = r.offset + r.length;
        if ((r.mode & kKeepSize) == 0 && object->data.size() < end) object->data.resize(end);
        if ((r.mode & kPunchHole) != 0 && r.offset < object->data.size()) {
            std::fill_n(object->data.begin() + static_cast<std::ptrdiff_t>(r.offset),
                        std::min<std::uint64_t>(end, object->data.size()) - r.offset, std::byte{0});
        }
        return "";
    }
    std::string operator()(const CopyRangeRecord& r) const {
        const auto* const from = at(r.from_path);
        auto* const to = at(r.path);
        if (from == nullptr || to == nullptr) return none(r.path);
        // Within one file the end moves while it is copied, and what was copied may be copied again.
        for (std::uint64_t done = 0; done < r.length;) {
            const auto at = r.from_offset + done;
            if (at >= from->data.size()) return "copies beyond the end of " + std::string(r.from_path);
            const auto n = std::min<std::uint64_t>(r.length - done, from->data.size() - at);
            const Bytes piece(from->data.begin() + static_cast<std::ptrdiff_t>(at),
                              from->data.begin() + static_cast<std::ptrdiff_t>(at + n));
            const auto to_at = r.offset + done;
            if (to->data.size() < to_at + n) to->data.resize(to_at + n);
            std::copy(piece.begin(), piece.end(), to->data.begin() + static_cast<std::ptrdiff_t>(to_at));
            done += n;
        }
        return "";
    }
    std::string operator()(const AttributesRecord& r) const {
        auto* const object = at(r.path);
        if (object == nullptr) return none(r.path);
        if ((r.valid & AttributesRecord::kSize) != 0) object->data.resize(r.size);
        if ((r.valid & AttributesRecord::kUid) != 0) object->uid = r.uid;
        if ((r.valid & AttributesRecord::kGid) != 0) object->gid = r.gid;
        if ((r.valid & AttributesRecord::kMode) != 0) object->mode = (object->mode & S_IFMT) | r.mode;
        if ((r.valid & AttributesRecord::kMtime) != 0) object->mtime_ns = r.mtime_ns;
        return "";
    }
    std::string operator()(const SetXattrRecord& r) const {
        auto* const object = at(r.path);
        if (object == nullptr) return none(r.path);
        object->xattrs[std::string(r.name)] = Bytes(r.value.begin(), r.value.end());
        return "";
    }
    std::string operator()(const RemoveXattrRecord& r) const {
        auto* const object = at(r.path);
        if (object == nullptr) return none(r.path);
        object->xattrs.erase(std::string(r.name));
        return "";
    }
    std::string operator()(const SyncRecord&) const { return ""; }
};

std::string Tree::apply(const Record& r) { return std::visit(Carry{objects_}, r); }

namespace {

std::string number(std::int64_t n) { return std::to_string(n); }

std::string object_difference(const Object& a, const Object& b, Tree::Times times) {
    if (a.mode != b.mode) return "mode " + number(a.mode) + " and " + number(b.mode);
    if (a.uid != b.uid || a.gid != b.gid) return "owner " + number(a.uid) + " and " + number(b.uid);
    if (a.rdev != b.rdev) return "device";
    if (a.target != b.target) return "target " + a.target + " and " + b.target;
    if (a.xattrs != b.xattrs) return "extended attributes";
    if (a.data.size() != b.data.size()) {
        return "size " + std::to_string(a.data.size()) + " and " + std::to_string(b.data.size());
    }
    if (a.data != b.data) {
        const auto at = std::mismatch(a.data.begin(), a.data.end(), b.data.begin()).first - a.data.begin();
        return "content at byte " + number(at);
    }
    if (times == Tree::Times::kCompared && a.mtime_ns != b.mtime_ns) {
        return "mtime " + number(a.mtime_ns) + " and " + number(b.mtime_ns);
    }
    return "";
}

}  // namespace

std::string Tree::difference(const Tree& other, Times times) const {
    const auto is_state = [](const std::string& path) { return is_within(path, kStateName); };
    std::map<const Object*, const Object*> partner;
    for (const auto& [path, object] : objects_) {
        if (is_state(path)) continue;
        const Object* const twin = other.find(path);
        if (twin == nullptr) return path + ": only on one side (the first)";
        if (auto differs = object_difference(*object, *twin, times); !differs.empty()) return path + ": " + differs;
        const auto known = partner.emplace(object.get(), twin).first;
        if (known->second != twin) return path + ": linked otherwise";
    }
    std::map<const Object*, const Object*> back;
    for (const auto& [path, object] : other.objects_) {
        if (is_state(path)) continue;
        const Object* const twin = find(path);
        if (twin == nullptr) return path + ": only on one side (the second)";
        if (back.emplace(object.get(), twin).first->second != twin) return path + ": linked otherwise";
    }
    return "";
}

}  // namespace tdfs::sim
