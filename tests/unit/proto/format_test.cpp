// FORMAT.md is a contract: its layouts are those of the code, and its examples are real bytes.

#include <fstream>
#include <map>
#include <sstream>

#include "proto/frame.hpp"
#include "proto/layout.hpp"
#include "proto/record.hpp"
#include "tests/support/catch.hpp"
#include "tests/unit/proto/recode.hpp"

using namespace tdfs;

namespace {

struct Block {
    std::string kind;  // first word after the fence
    std::string name;  // the rest of that line
    std::string text;
};

std::vector<Block> blocks_of_format_md() {
    std::ifstream file(TDFS_FORMAT_MD);
    REQUIRE(file);
    std::vector<Block> blocks;
    bool inside = false;
    for (std::string line; std::getline(file, line);) {
        if (line.substr(0, 3) == "```") {
            inside = !inside;
            if (!inside) continue;
            std::istringstream words(line.substr(3));
            Block block;
            words >> block.kind >> block.name;
            blocks.push_back(block);
        } else if (inside) {
            blocks.back().text += line + '\n';
        }
    }
    return blocks;
}

// Pairs of hex digits; '#' begins a comment.
Bytes bytes_of(const std::string& text) {
    Bytes bytes;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream pairs(line.substr(0, line.find('#')));
        for (std::string pair; pairs >> pair;) {
            REQUIRE(pair.size() == 2);
            bytes.push_back(static_cast<std::byte>(std::stoul(pair, nullptr, 16)));
        }
    }
    return bytes;
}

std::string first_comment(const std::string& text) {
    const auto begin = text.find("# ") + 2;
    return text.substr(begin, text.find('\n', begin) - begin);
}

const std::map<std::string, MessageKind> kMessageNames{
    {"hello", MessageKind::kHello},
    {"welcome", MessageKind::kWelcome},
    {"refuse", MessageKind::kRefuse},
    {"resume", MessageKind::kResume},
    {"heartbeat", MessageKind::kHeartbeat},
    {"ack", MessageKind::kAck},
    {"resync_start", MessageKind::kResyncStart},
    {"list", MessageKind::kList},
    {"list_part", MessageKind::kListPart},
    {"stat", MessageKind::kStat},
    {"stat_reply", MessageKind::kStatReply},
    {"range", MessageKind::kRange},
    {"range_part", MessageKind::kRangePart},
    {"range_end", MessageKind::kRangeEnd},
    {"xattrs", MessageKind::kXattrs},
    {"xattrs_reply", MessageKind::kXattrsReply},
    {"round_done", MessageKind::kRoundDone},
    {"touched", MessageKind::kTouched},
    {"progress", MessageKind::kProgress},
    {"inspect_start", MessageKind::kInspectStart},
    {"inspect_stop", MessageKind::kInspectStop},
    {"hashes", MessageKind::kHashes},
    {"hashes_reply", MessageKind::kHashesReply},
    {"look", MessageKind::kLook},
    {"looked", MessageKind::kLooked},
    {"cannot", MessageKind::kCannot},
    {"found", MessageKind::kFound},
    {"inspect_progress", MessageKind::kInspectProgress},
    {"inspect_done", MessageKind::kInspectDone},
};

}  // namespace

TEST_CASE("the layouts in FORMAT.md are those the code is hashed by") {
    std::string layouts;
    std::string hash;
    for (const auto& block : blocks_of_format_md()) {
        if (block.kind == "layout") layouts += block.text;
        if (block.kind == "format_hash") hash = block.text;
    }
    CHECK(layouts == format_layout());
    std::ostringstream expected;
    expected << std::hex << "0x" << format_hash() << '\n';
    CHECK(hash == expected.str());
}

TEST_CASE("each record in FORMAT.md decodes to the line above it and encodes to the same bytes") {
    std::map<RecordKind, int> seen;
    for (const auto& block : blocks_of_format_md()) {
        if (block.kind != "record") continue;
        CAPTURE(block.text);
        const auto bytes = bytes_of(block.text);
        const auto record = decode_record(bytes);
        REQUIRE(record);
        CHECK(to_text(*record) == first_comment(block.text));
        Bytes again;
        encode_record(*record, again);
        CHECK(again == bytes);
        ++seen[kind_of(*record)];
    }
    CHECK(seen.size() == std::variant_size_v<Record>);
}

TEST_CASE("each message in FORMAT.md decodes and encodes to the same bytes") {
    std::map<MessageKind, int> seen;
    for (const auto& block : blocks_of_format_md()) {
        if (block.kind != "message") continue;
        CAPTURE(block.name, block.text);
        const auto kind = kMessageNames.at(block.name);
        const auto bytes = bytes_of(block.text);
        CHECK(test::recode(kind, bytes) == bytes);
        CHECK(test::is_exact(kind, bytes));
        ++seen[kind];
    }
    CHECK(seen.size() == test::kAllMessages.size());
}

TEST_CASE("each frame in FORMAT.md is whole and its header is encoded to the same bytes") {
    int seen = 0;
    for (const auto& block : blocks_of_format_md()) {
        if (block.kind != "frame") continue;
        CAPTURE(block.text);
        const auto bytes = bytes_of(block.text);
        const auto frame = parse_frame(bytes);
        REQUIRE(frame);
        REQUIRE(frame->complete());
        CHECK(frame->bytes.size() == bytes.size());
        const auto header = encode_header(frame->header, {&frame->payload, 1});
        CHECK(std::equal(header.begin(), header.end(), bytes.begin()));
        Bytes scratch;
        const auto raw = raw_payload(*frame, scratch);
        REQUIRE(raw);
        if (frame->header.kind == FrameKind::kRecord) {
            const auto record = decode_record(*raw);
            REQUIRE(record);
            CHECK(to_text(*record) == first_comment(block.text));
        } else if (frame->header.kind >= FrameKind::kFirstSession) {
            CHECK(test::recode(static_cast<MessageKind>(frame->header.kind), *raw));
        }
        ++seen;
    }
    CHECK(seen == 4);
}
