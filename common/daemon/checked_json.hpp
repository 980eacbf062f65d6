// Small state files as JSON with a checksum, so that a flipped bit is not taken for a fact.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace tdfs {

// The object with one field more, "checksum", over all others.
[[nodiscard]] std::string to_checked_text(nlohmann::json object);

struct CheckedJson {
    nlohmann::json value;   // without its checksum; discarded: this is no JSON
    bool is_whole = false;  // the checksum agrees, or there is none (written by hand)
};
[[nodiscard]] CheckedJson read_checked_text(std::string_view text);

}  // namespace tdfs
