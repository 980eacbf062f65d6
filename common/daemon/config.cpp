#include "common/daemon/config.hpp"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include <algorithm>
#include <optional>

namespace tdfs {

namespace {

std::string where(const std::string& file, const toml::source_region& region) {
    return region.begin.line == 0 ? file + ": " : file + ":" + std::to_string(region.begin.line) + ": ";
}

// Nothing: a value that no option takes.
std::optional<std::string> text_of(const toml::node& value) {
    if (const auto* text = value.as_string()) return text->get();
    if (const auto* number = value.as_integer()) return std::to_string(number->get());
    return std::nullopt;
}

// False: a kind of value that no option takes.
bool add(const std::string& name, const toml::node& value, std::vector<std::string>& arguments) {
    if (const auto* flag = value.as_boolean()) {
        if (flag->get()) arguments.push_back("--" + name);
        return true;
    }
    if (const auto* list = value.as_array()) {
        return std::all_of(list->begin(), list->end(), [&](const toml::node& one) {
            return !one.is_array() && !one.is_boolean() && add(name, one, arguments);
        });
    }
    const auto text = text_of(value);
    if (text) arguments.push_back("--" + name + "=" + *text);
    return text.has_value();
}

}  // namespace

Result<std::vector<std::string>, std::string> config_arguments(const std::string& file,
                                                               const std::function<bool(std::string_view)>& given) {
    const auto parsed = toml::parse_file(file);
    if (!parsed) {
        return Unexpected(where(file, parsed.error().source()) + std::string(parsed.error().description()));
    }
    std::vector<std::string> arguments;
    for (const auto& [key, value] : parsed.table()) {
        const std::string name(key.str());
        if (name == "config") return Unexpected(where(file, value.source()) + "a file cannot name another (config)");
        if (name.size() < 2) {  // "--m" is no option to the parser
            return Unexpected(where(file, value.source()) + "\"" + name + "\": the long name of the option is wanted");
        }
        if (given(name)) continue;
        if (!add(name, value, arguments)) {
            return Unexpected(where(file, value.source()) + name +
                              ": a text, a number, true or false, or a list of texts is wanted");
        }
    }
    return arguments;
}

}  // namespace tdfs
