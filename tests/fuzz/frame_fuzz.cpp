// Headers and compressed payloads of any bytes. The checksums are made or taken for right, or nothing would ever come
// past them.
#include "proto/frame.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/seal_header.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto input = tdfs::fuzz::input(data, size);
    (void)tdfs::parse_frame(input);
    tdfs::Bytes bytes(input.begin(), input.end());
    if (size >= tdfs::kFrameHeaderBytes) tdfs::test::seal_header(bytes);
    const auto header = tdfs::decode_header(bytes);
    if (!header || header->frame_bytes() > size) return 0;
    const auto payload = tdfs::ByteView(bytes).subspan(tdfs::kFrameHeaderBytes, header->payload_bytes);
    const auto again = tdfs::decode_header(tdfs::encode_header(*header, {&payload, 1}));
    TDFS_INVARIANT(again && again->frame_bytes() == header->frame_bytes(), "a header encodes to another");
    tdfs::Bytes scratch;
    const auto raw = tdfs::raw_payload({*header, payload, bytes, 0}, scratch);
    TDFS_INVARIANT(!raw || raw->size() == header->raw_bytes, "a payload expands to another size");
    return 0;
}
