#include "proto/layout.hpp"

#include "proto/checksum.hpp"
#include "proto/record.hpp"

namespace tdfs {

std::string format_layout() {
    std::string all;
    for (const auto part : {frame_layout(), record_layout(), session_layout(), resync_layout(), inspect_layout()}) {
        all += part;
    }
    return all;
}

std::uint64_t format_hash() {
    static const std::uint64_t hash = checksum(as_bytes(format_layout()));
    return hash;
}

}  // namespace tdfs
