#include "common/journal/marks.hpp"

#include <atomic>
#include <limits>

#include "common/journal/parity.hpp"
#include "common/os/file.hpp"

namespace tdfs {

namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::uint64_t kMarksMagic = 0x324b524d53464454;  // "TDFSMRK2" in memory
constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();

// All ones have an even number of ones: "not known" can be told from its damaged forms, too.
bool intact(std::uint64_t mark) { return mark == kUnknown || without_parity(mark).has_value(); }

std::optional<Lsn> known(std::uint64_t mark) {
    if (mark == kUnknown) return std::nullopt;
    return Lsn(*without_parity(mark));
}

// Threads may come here in another order than that in which the tail moved. A mark that was damaged in the file while
// it was mapped is made anew.
void raise(std::atomic<std::uint64_t>& mark, Lsn to) {
    const auto is_below = [&](std::uint64_t word) {
        if (word == kUnknown) return true;
        const auto value = without_parity(word);
        return !value || *value < to.bytes();
    };
    auto now = mark.load(std::memory_order_relaxed);
    while (is_below(now) && !mark.compare_exchange_weak(now, with_parity(to.bytes()))) {
    }
}

}  // namespace

struct Marks::Page {
    std::atomic<std::uint64_t> magic;  // stored last of all when the page is made
    std::atomic<std::uint64_t> committed;
    std::atomic<std::uint64_t> durable;
    std::atomic<std::uint64_t> clean;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

Marks::Page& Marks::page() const { return *static_cast<Page*>(static_cast<void*>(file_.data())); }

SysResult<Marks> Marks::open(int dir) {
    const auto before = stat_at(dir, "marks");
    if (!before && before.error().value() != ENOENT) return fail(before.error());
    const auto size = before ? before->size : 0;

    auto file = MappedFile::open(dir, "marks", kPageBytes);
    if (!file) return fail(file.error());
    Marks marks;
    marks.file_ = std::move(*file);
    auto& page = marks.page();
    const auto committed = page.committed.load();
    const auto durable = page.durable.load();
    if (size == kPageBytes && page.magic == kMarksMagic && intact(committed) && intact(durable)) {
        const Found found{known(committed), known(durable), page.clean == 1, false};
        if (!found.durable || !found.committed || *found.durable <= *found.committed) {
            marks.found_ = found;
            return marks;
        }
    }
    marks.found_.unreadable = size != 0;
    marks.forget();
    page.magic = kMarksMagic;
    return marks;
}

void Marks::note_committed(Lsn tail) { raise(page().committed, tail); }

void Marks::note_durable(Lsn durable) {
    raise(page().committed, durable);  // its note may still be on the way, in another thread
    raise(page().durable, durable);
}

void Marks::forget() {
    page().durable = kUnknown;
    page().committed = kUnknown;
    page().clean = 0;
}

void Marks::begin(Lsn committed, Lsn durable) {
    page().durable = kUnknown;  // never above committed, whenever the process is killed
    page().committed = with_parity(committed.bytes());
    page().durable = with_parity(durable.bytes());
}

void Marks::set_clean(bool clean) { page().clean = clean ? 1 : 0; }

}  // namespace tdfs
