// How far the journal had come, known at the next start.
#pragma once

#include <optional>

#include "common/journal/mapped_file.hpp"
#include "proto/ids.hpp"

namespace tdfs {

// The file "marks", one page, mapped. Invariants: everything before `committed` is in the segment files (good for as
// long as the machine runs), and everything before `durable` is on the disk (good for ever: it is stored after the
// fact, so a page that reached the disk late names an earlier place, not a wrong one).
//
// Owned by the Journal. note_*() and begin() are thread-safe; all else belongs to opening, reset and close.
class Marks {
  public:
    // What an earlier process noted.
    struct Found {
        std::optional<Lsn> committed;
        std::optional<Lsn> durable;
        bool clean = false;       // its journal was closed in order
        bool unreadable = false;  // the file was there but is not such a page; it has been made anew
    };

    Marks() = default;
    static SysResult<Marks> open(int dir);
    [[nodiscard]] const Found& found() const { return found_; }

    void note_committed(Lsn tail);
    void note_durable(Lsn durable);

    void forget();  // before the journal is thrown away: nothing is known of what is left of it
    void begin(Lsn committed, Lsn durable);  // sets both, also backwards
    void set_clean(bool clean);
    SysResult<void> flush() const { return file_.flush(); }

  private:
    struct Page;
    [[nodiscard]] Page& page() const;
    MappedFile file_;
    Found found_;
};

}  // namespace tdfs
