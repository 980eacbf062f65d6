// A FileSystem over a temporary directory, without FUSE, and a way to replay its journal.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>

#include <memory>
#include <string>
#include <vector>

#include "common/journal/journal.hpp"
#include "master/file_system.hpp"
#include "tests/support/temp_dir.hpp"

namespace tdfs::test {

struct Master {
    // `journal_dir`: a descriptor; -1: a directory of its own.
    explicit Master(bool compress = false, const JournalOptions& options = {}, int journal_dir = -1);

    // Every record so far, as text, without the settled times (which come when they come).
    [[nodiscard]] std::vector<std::string> records() const;
    // Replays the journal into `replica` and returns how it differs from the backing directory.
    [[nodiscard]] std::string differences_after_replay() const;

    Found must_make(Node* parent, const char* name, mode_t mode) {
        auto made = fs->make_node({}, parent, name, mode, 0);
        REQUIRE(made);
        return *made;
    }
    std::unique_ptr<OpenFile> must_create(Node* parent, const char* name, int flags = O_RDWR) {
        auto made = fs->create({}, parent, name, 0644, flags);
        REQUIRE(made);
        return std::move(made->second);
    }
    Node* root() { return nodes->root(); }

    TempDir backing, state;
    std::unique_ptr<Journal> journal;
    Locks locks;
    std::unique_ptr<NodeTable> nodes;
    std::unique_ptr<Mutator> mutator;
    std::unique_ptr<Settler> settler;
    std::unique_ptr<FileSystem> fs;
};

// Whatever has to be opened meanwhile, cannot be.
class NoMoreDescriptors {
  public:
    NoMoreDescriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        const rlimit none{0, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    }
    ~NoMoreDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    NoMoreDescriptors(const NoMoreDescriptors&) = delete;
    NoMoreDescriptors& operator=(const NoMoreDescriptors&) = delete;

  private:
    rlimit before_{};
};

}  // namespace tdfs::test
