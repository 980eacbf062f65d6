#include "master/stay_awake.hpp"

#include <cstring>
#include <fstream>
#include <vector>

#include "proto/bytes.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temp_dir.hpp"

using namespace tdfs;

namespace {

constexpr std::int32_t kAny = -1;

// What was asked for, in order: a file stands for the device.
class Device {
  public:
    Device() { std::ofstream(path()).flush(); }
    [[nodiscard]] std::string path() const { return dir_ / "device"; }
    [[nodiscard]] std::vector<std::int32_t> asked() const {
        std::ifstream file(path(), std::ios::binary);
        std::vector<std::int32_t> all;
        for (std::int32_t one = 0; file.read(reinterpret_cast<char*>(&one), sizeof one);) all.push_back(one);
        return all;
    }

  private:
    const test::TempDir dir_;
};

}  // namespace

TEST_CASE("cores are kept awake once while requests come fast, and left alone soon after") {
    const Device device;
    StayAwake awake(device.path());
    CHECK(device.asked().empty());
    for (int i = 0; i < 100; ++i) awake.saw(160);
    CHECK(device.asked() == std::vector<std::int32_t>{0});
    CHECK(awake.awake());
    for (int i = 0; i < 100; ++i) awake.saw(0);
    CHECK(device.asked() == std::vector<std::int32_t>{0, kAny});
    CHECK_FALSE(awake.awake());
    awake.saw(160);
    CHECK(device.asked() == std::vector<std::int32_t>{0, kAny, 0});
}

TEST_CASE("a few requests wake no core, and a short pause lets none halt") {
    const Device device;
    StayAwake awake(device.path());
    for (int i = 0; i < 1000; ++i) awake.saw(3);
    CHECK(device.asked().empty());
    for (int i = 0; i < 100; ++i) awake.saw(i % 3 == 0 ? 50 : 0);
    CHECK(device.asked() == std::vector<std::int32_t>{0});
}

TEST_CASE("where the kernel has no such device nothing is asked for and nothing fails") {
    StayAwake awake("/nowhere/cpu_dma_latency");
    awake.saw(1000);
    for (int i = 0; i < 10; ++i) awake.saw(0);
    CHECK_FALSE(awake.awake());
}
