// Records of any bytes: what decodes encodes to the same bytes, and has a line.
#include "proto/record.hpp"
#include "tests/fuzz/target.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = tdfs::fuzz::input(data, size);
    const auto record = tdfs::decode_record(bytes);
    if (!record) return 0;
    TDFS_INVARIANT(!tdfs::to_text(*record).empty(), "a record without a line");
    tdfs::Bytes again;
    tdfs::encode_record(*record, again);
    TDFS_INVARIANT(tdfs::as_text(again) == tdfs::as_text(bytes), "a record encodes to other bytes");
    return 0;
}
