// The two small files that say what a directory belongs to: identity.json (in the state directory) and the marker
// `volume` (in DIR/.tdfs). Text in, values out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/daemon/state_dir.hpp"

namespace tdfs {

inline constexpr const char* kIdentityName = "identity.json";
inline constexpr const char* kMarkerName = "volume";
inline constexpr std::size_t kMaxIdentityBytes = 1024 * 1024;
inline constexpr std::size_t kMaxMarkerBytes = 256;

struct StoredIdentity {
    Identity identity;
    // The marker is known to be durable. False only between the two writes of a changed volume id.
    bool marked = false;
};

[[nodiscard]] std::string identity_to_json(const StoredIdentity& stored);
struct BadIdentity {
    std::string text;            // what is wrong ("field volume: ...")
    bool other_program = false;  // it is whole, and of a format that this program does not know
};
[[nodiscard]] Result<StoredIdentity, BadIdentity> identity_from_json(std::string_view text);

struct Marker {
    VolumeId volume;
    Role role = Role::kMaster;
};
[[nodiscard]] std::string to_text(const Marker& marker);
[[nodiscard]] std::optional<Marker> parse_marker(std::string_view text);

}  // namespace tdfs
