// identity.json and the marker: what was written is read, and nothing damaged is taken for good.
#include "common/daemon/identity.hpp"

#include "tests/support/catch.hpp"

using namespace tdfs;
using Catch::Matchers::ContainsSubstring;

namespace {

StoredIdentity sample() {
    StoredIdentity stored;
    auto& identity = stored.identity;
    identity.role = Role::kSlave;
    identity.volume = VolumeId::random();
    identity.history = {{Epoch(0x0123456789abcdef), Lsn(0)}, {Epoch(~std::uint64_t{0}), Lsn(~std::uint64_t{0})}};
    identity.has_content = true;
    identity.clean_stop = true;
    identity.boot = "boot \"\xff\" id";
    identity.resyncing = true;
    identity.unsure = true;
    identity.intact_until = Lsn(77);
    identity.resync_since = Lsn(78);
    identity.resync_end = Lsn(1ULL << 60);
    stored.marked = true;
    return stored;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("an identity comes back from its text as it went in") {
    auto stored = sample();
    stored.identity.boot = "0a1b";
    const auto back = identity_from_json(identity_to_json(stored));
    REQUIRE(back);
    CHECK(back->identity.role == stored.identity.role);
    CHECK(back->identity.volume == stored.identity.volume);
    CHECK(back->identity.history == stored.identity.history);
    CHECK(back->identity.has_content);
    CHECK(back->identity.clean_stop);
    CHECK(back->identity.boot == "0a1b");
    CHECK(back->identity.resyncing);
    CHECK(back->identity.unsure);
    CHECK(back->identity.intact_until == Lsn(77));
    CHECK(back->identity.resync_since == Lsn(78));
    CHECK(back->identity.resync_end == stored.identity.resync_end);
    CHECK(back->marked);
}

TEST_CASE("an identity whose text is cut anywhere is refused") {
    const auto text = identity_to_json(sample());
    for (std::size_t size = 0; size + 2 < text.size(); ++size) {
        CAPTURE(size);
        CHECK_FALSE(identity_from_json(std::string_view(text).substr(0, size)));
    }
}

TEST_CASE("a wrong field is named") {
    const auto text = identity_to_json(sample());
    const auto error_of = [&](const std::string& from, const std::string& to) {
        const auto back = identity_from_json(replaced(text, from, to));
        REQUIRE_FALSE(back);
        return back.error().text;
    };
    CHECK_THAT(error_of("\"slave\"", "\"king\""), ContainsSubstring("field role"));
    CHECK_THAT(error_of("\"volume\": \"", "\"volume\": \"x"), ContainsSubstring("field volume"));
    CHECK_THAT(error_of("\"clean_stop\": true", "\"clean_stop\": 1"), ContainsSubstring("field clean_stop"));
    CHECK_THAT(error_of("\"clean_stop\"", "\"clean-stop\""), ContainsSubstring("field clean_stop"));
    CHECK_THAT(error_of("0123456789abcdef", "0123456789abcdeg"), ContainsSubstring("field history"));
    CHECK_THAT(error_of("0123456789abcdef", "0000000000000000"), ContainsSubstring("field history"));
    CHECK_THAT(error_of("\"first_lsn\": 18446744073709551615", "\"first_lsn\": -1"),
               ContainsSubstring("field history"));
    CHECK_THAT(identity_from_json("[]").error().text, ContainsSubstring("object"));
}

TEST_CASE("an identity of another format is told from a damaged one") {
    const auto text = identity_to_json(sample());
    CHECK_FALSE(identity_from_json(replaced(text, "\"format\": 1", "\"format\": 3")).error().other_program);
    const auto plain = replaced(text, "\"checksum\"", "\"something\"");
    const auto other = identity_from_json(replaced(plain, "\"format\": 1", "\"format\": 3"));
    CHECK_THAT(other.error().text, ContainsSubstring("format 3"));
    CHECK(other.error().other_program);
}

TEST_CASE("no flipped bit of an identity or a marker changes what it says") {
    const auto stored = sample();
    const auto is_same = [&](const StoredIdentity& back) { return identity_to_json(back) == identity_to_json(stored); };
    const auto text = identity_to_json(stored);
    const Marker marker{stored.identity.volume, Role::kSlave};
    const auto line = to_text(marker);
    for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
        auto flipped = text;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        const auto back = identity_from_json(flipped);
        CAPTURE(bit);
        if (back) CHECK(is_same(*back));
    }
    for (std::size_t bit = 0; bit < line.size() * 8; ++bit) {
        auto flipped = line;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        CAPTURE(bit);
        CHECK_FALSE(parse_marker(flipped));
    }
    CHECK(parse_marker("volume " + stored.identity.volume.text() + " slave\n"));
}

TEST_CASE("a history that goes backwards is refused") {
    auto stored = sample();
    stored.identity.history = {{Epoch(1), Lsn(10)}, {Epoch(2), Lsn(9)}};
    CHECK_FALSE(identity_from_json(identity_to_json(stored)));
}

TEST_CASE("a marker is one exact line") {
    const Marker marker{VolumeId::random(), Role::kSlave};
    const auto text = to_text(marker);
    const auto back = parse_marker(text);
    REQUIRE(back);
    CHECK(back->volume == marker.volume);
    CHECK(back->role == marker.role);
    for (std::size_t size = 0; size < text.size(); ++size) {
        CAPTURE(size);
        CHECK_FALSE(parse_marker(std::string_view(text).substr(0, size)));
    }
    CHECK_FALSE(parse_marker(text + "\n"));
    CHECK_FALSE(parse_marker("volume x master\n"));
}
