// Words from the other side, on their way into a log or a status.
#pragma once

#include <string>

namespace tdfs {

// Control characters become '?', so that a stranger can neither begin lines of a log nor steer a terminal.
[[nodiscard]] inline std::string one_line(std::string text) {
    for (char& c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f) c = '?';
    }
    return text;
}

}  // namespace tdfs
