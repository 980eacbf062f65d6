// Options from a file: what may stand on the command line may stand in a TOML file as well.
#pragma once

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.hpp"

namespace tdfs {

// The arguments that the TOML file `file` stands for: `name = "text"` or a number is --name=text, `name = true` is --name,
// `name = false` nothing, and a list is the option once for each of its values. Names are the long names of options; those for which
// `given` answers true stand on the command line already, which wins, and are left out. The error is one line that names file and, where
// it has one, line. Paths are relative to the working directory, as on the command line. https://toml.io/en/v1.0.0
Result<std::vector<std::string>, std::string> config_arguments(const std::string& file,
                                                               const std::function<bool(std::string_view)>& given);

// The command line `argc`, `argv` and behind it the arguments of its `--config FILE`, if it has one. `Options` and what its parse()
// returns are cxxopts', whose errors go through; an error of the file is thrown as std::runtime_error.
template <class Options>
auto parse_with_config(Options& options, int argc, const char* const* argv) {
    auto parsed = options.parse(argc, argv);
    if (parsed.count("config") == 0) return parsed;
    const auto file = parsed["config"].template as<std::string>();
    const auto more =
        config_arguments(file, [&](std::string_view name) { return parsed.count(std::string(name)) != 0; });
    if (!more) throw std::runtime_error(more.error());
    std::vector<const char*> all(argv, argv + argc);
    for (const std::string& argument : *more) all.push_back(argument.c_str());
    try {
        return options.parse(static_cast<int>(all.size()), all.data());
    } catch (const std::exception& e) {  // the command line alone was understood
        throw std::runtime_error(file + ": " + e.what());
    }
}

}  // namespace tdfs
