// tdfsctl: asks a running daemon. See tdfsctl_options.cpp for its face.
#include <cstdio>
#include <exception>

#include <nlohmann/json.hpp>

#include "common/control/tdfsctl_command.hpp"

namespace {

int run(int argc, char** argv) {
    const auto options = tdfs::parse_tdfsctl(argc, argv);
    if (!options) {
        std::fprintf(stderr, "tdfsctl: %s (tdfsctl --help tells more)\n", options.error().c_str());
        return static_cast<int>(tdfs::ControlExit::kUsage);
    }
    const auto done = tdfs::run_tdfsctl(*options);
    if (done) return static_cast<int>(tdfs::ControlExit::kOk);

    const auto& error = done.error();
    std::fprintf(stderr, "tdfsctl: %s\n", error.text.c_str());
    if (options->json) {
        const nlohmann::json object{{"error", error.text}, {"code", static_cast<int>(error.code)}};
        std::puts(object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    return static_cast<int>(error.code);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "tdfsctl: %s\n", e.what());
        return static_cast<int>(tdfs::ControlExit::kFailed);
    }
}
