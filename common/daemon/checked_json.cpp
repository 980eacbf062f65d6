#include "common/daemon/checked_json.hpp"

#include <utility>

#include "common/daemon/hex.hpp"
#include "proto/bytes.hpp"
#include "proto/checksum.hpp"

namespace tdfs {

namespace {

using nlohmann::json;

constexpr const char* kChecksum = "checksum";

// However the fields are laid out in the text.
std::string checksum_of(const json& object) {
    return hex(checksum(as_bytes(object.dump(-1, ' ', false, json::error_handler_t::replace))));
}

}  // namespace

std::string to_checked_text(json object) {
    object[kChecksum] = checksum_of(object);
    return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

CheckedJson read_checked_text(std::string_view text) {
    CheckedJson read{json::parse(text, nullptr, false), true};
    if (!read.value.is_object()) return read;
    const auto found = read.value.find(kChecksum);
    if (found == read.value.end()) return read;
    const json noted = *found;
    read.value.erase(found);
    read.is_whole = noted == checksum_of(read.value);
    return read;
}

}  // namespace tdfs
