#include "common/daemon/identity.hpp"

#include <charconv>

#include "common/daemon/checked_json.hpp"
#include "common/daemon/hex.hpp"
#include "proto/bytes.hpp"
#include "proto/checksum.hpp"

namespace tdfs {

namespace {

using nlohmann::json;

constexpr int kFormat = 1;

Unexpected<BadIdentity> wrong(const std::string& what, bool other_program = false) {
    return Unexpected<BadIdentity>(BadIdentity{what, other_program});
}

// Reads fields one by one and keeps the first thing that is wrong.
class Fields {
  public:
    explicit Fields(const json& object) : object_(object) {}

    bool flag(const char* name) {
        const auto* value = find(name);
        if (value != nullptr && !value->is_boolean()) note(name, "true or false was expected");
        return error_.empty() && value->get<bool>();
    }
    std::uint64_t number(const char* name) {
        const auto* value = find(name);
        if (value != nullptr && !value->is_number_unsigned()) note(name, "a number was expected");
        return error_.empty() ? value->get<std::uint64_t>() : 0;
    }
    std::string text(const char* name) {
        const auto* value = find(name);
        if (value != nullptr && !value->is_string()) note(name, "a text was expected");
        return error_.empty() ? value->get<std::string>() : std::string();
    }
    const json& list(const char* name) {
        const auto* value = find(name);
        if (value != nullptr && !value->is_array()) note(name, "a list was expected");
        static const json nothing = json::array();
        return error_.empty() ? *value : nothing;
    }
    void note(const char* name, const char* what) {
        if (error_.empty()) error_ = std::string("field ") + name + ": " + what;
    }
    [[nodiscard]] const std::string& error() const { return error_; }

  private:
    const json* find(const char* name) {
        const auto at = object_.find(name);
        if (at != object_.end()) return &*at;
        note(name, "it is missing");
        return nullptr;
    }
    const json& object_;
    std::string error_;
};

std::vector<EpochStart> read_history(Fields& fields) {
    std::vector<EpochStart> history;
    const auto& list = fields.list("history");
    if (list.size() > kMaxEpochs) {
        fields.note("history", "it is too long");
        return {};
    }
    for (const auto& item : list) {
        if (!item.is_object()) {
            fields.note("history", "its items should be objects");
            return {};
        }
        Fields entry(item);
        const auto epoch = entry.text("epoch");
        const Lsn first(entry.number("first_lsn"));
        std::uint64_t id = 0;
        const auto parsed = std::from_chars(epoch.data(), epoch.data() + epoch.size(), id, 16);
        if (!entry.error().empty() || epoch.size() != 16 || parsed.ptr != epoch.data() + epoch.size() || id == 0) {
            fields.note("history", "an epoch is 16 hex digits with its first_lsn");
            return {};
        }
        if (!history.empty() && first < history.back().first_lsn) {
            fields.note("history", "it goes backwards");
            return {};
        }
        history.push_back({Epoch(id), first});
    }
    return history;
}

std::optional<Role> parse_role(std::string_view text) {
    if (text == "master") return Role::kMaster;
    if (text == "slave") return Role::kSlave;
    return std::nullopt;
}

}  // namespace

const char* to_text(Role role) { return role == Role::kMaster ? "master" : "slave"; }

std::string identity_to_json(const StoredIdentity& stored) {
    const auto& identity = stored.identity;
    json history = json::array();
    for (const auto& start : identity.history) {
        history.push_back({{"epoch", hex(start.epoch.id())}, {"first_lsn", start.first_lsn.bytes()}});
    }
    return to_checked_text({{"format", kFormat},
                            {"role", to_text(identity.role)},
                            {"volume", identity.volume.text()},
                            {"history", std::move(history)},
                            {"has_content", identity.has_content},
                            {"clean_stop", identity.clean_stop},
                            {"boot", identity.boot},
                            {"resyncing", identity.resyncing},
                            {"resync_end", identity.resync_end.bytes()},
                            {"unsure", identity.unsure},
                            {"intact_until", identity.intact_until.bytes()},
                            {"resync_since", identity.resync_since.bytes()},
                            {"marked", stored.marked}});
}

Result<StoredIdentity, BadIdentity> identity_from_json(std::string_view text) {
    const auto [object, is_whole] = read_checked_text(text);
    if (object.is_discarded()) return wrong("it is not JSON");
    if (!object.is_object()) return wrong("it holds no object");

    Fields fields(object);
    const auto format = fields.number("format");
    if (fields.error().empty() && format != kFormat && is_whole) {
        return wrong("it has format " + std::to_string(format) + ", this program knows " + std::to_string(kFormat),
                     true);
    }
    const auto role = parse_role(fields.text("role"));
    if (!role) fields.note("role", "it is neither master nor slave");
    const auto volume = VolumeId::parse(fields.text("volume"));
    if (!volume) fields.note("volume", "it is not a UUID");

    StoredIdentity stored;
    auto& identity = stored.identity;
    identity.history = read_history(fields);
    identity.has_content = fields.flag("has_content");
    identity.clean_stop = fields.flag("clean_stop");
    identity.boot = fields.text("boot");
    identity.resyncing = fields.flag("resyncing");
    identity.resync_end = Lsn(fields.number("resync_end"));
    identity.unsure = object.contains("unsure") && fields.flag("unsure");
    if (object.contains("intact_until")) identity.intact_until = Lsn(fields.number("intact_until"));
    if (object.contains("resync_since")) identity.resync_since = Lsn(fields.number("resync_since"));
    stored.marked = fields.flag("marked");
    if (!fields.error().empty()) return wrong(fields.error());
    if (!is_whole) return wrong("its checksum is another one");
    identity.role = *role;
    identity.volume = *volume;
    return stored;
}

std::string to_text(const Marker& marker) {
    const std::string words = "volume " + marker.volume.text() + " " + to_text(marker.role);
    return words + " " + hex(checksum(as_bytes(words))) + "\n";
}

std::optional<Marker> parse_marker(std::string_view text) {
    constexpr std::string_view kHead = "volume ";
    constexpr std::size_t kUuidBytes = 36;
    if (!text.starts_with(kHead) || !text.ends_with('\n')) return std::nullopt;
    text.remove_suffix(1);
    constexpr std::size_t kSumBytes = 16;
    const auto last = text.rfind(' ');
    if (text.size() - last - 1 == kSumBytes) {  // a marker that was written by hand needs none
        if (text.substr(last + 1) != hex(checksum(as_bytes(text.substr(0, last))))) return std::nullopt;
        text = text.substr(0, last);
    }
    text.remove_prefix(kHead.size());
    if (text.size() <= kUuidBytes || text[kUuidBytes] != ' ') return std::nullopt;
    const auto volume = VolumeId::parse(text.substr(0, kUuidBytes));
    const auto role = parse_role(text.substr(kUuidBytes + 1));
    if (!volume || !role) return std::nullopt;
    return Marker{*volume, *role};
}

}  // namespace tdfs
