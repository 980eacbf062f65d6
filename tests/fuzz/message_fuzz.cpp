// Messages of any bytes: the first names the kind, the rest is the payload. What decodes encodes to the same bytes.
#include "tests/fuzz/target.hpp"
#include "tests/unit/proto/recode.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const auto kind = tdfs::test::kAllMessages[data[0] % tdfs::test::kAllMessages.size()];
    const auto payload = tdfs::fuzz::input(data + 1, size - 1);
    const auto again = tdfs::test::recode(kind, payload);
    if (!again || !tdfs::test::is_exact(kind, payload)) return 0;
    TDFS_INVARIANT(tdfs::as_text(*again) == tdfs::as_text(payload), "a message encodes to other bytes");
    return 0;
}
