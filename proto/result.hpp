// Result<T, E>: a value or an error, with std::expected's member names (C++20 has no std::expected).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>
#include <variant>

namespace tdfs {

// Ends the process because an invariant is broken; active in release builds too. Going on would risk a replica that
// is silently wrong, which is worse than none.
[[noreturn]] inline void broken_invariant(const char* what, const char* file, int line) {
    std::fprintf(stderr, "tdfs: broken invariant: %s (%s:%d)\n", what, file, line);
    std::abort();
}
#define TDFS_INVARIANT(condition, what) \
    ((condition) ? static_cast<void>(0) : ::tdfs::broken_invariant((what), __FILE__, __LINE__))

// Carries an error into a Result, as std::unexpected does.
template <class E>
class Unexpected {
  public:
    explicit Unexpected(E error) : error_(std::move(error)) {}
    E& error() { return error_; }

  private:
    E error_;
};

template <class T, class E>
class [[nodiscard]] Result {
  public:
    using value_type = T;
    using error_type = E;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}              // NOLINT(*-explicit-*)
    Result(Unexpected<E> e) : state_(std::in_place_index<1>, std::move(e.error())) {}  // NOLINT(*-explicit-*)

    [[nodiscard]] bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& value() & {
        check();
        return *std::get_if<0>(&state_);
    }
    const T& value() const& {
        check();
        return *std::get_if<0>(&state_);
    }
    T&& value() && {
        check();
        return std::move(*std::get_if<0>(&state_));
    }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    E& error() {
        TDFS_INVARIANT(!has_value(), "error() of a Result that holds a value");
        return *std::get_if<1>(&state_);
    }
    const E& error() const {
        TDFS_INVARIANT(!has_value(), "error() of a Result that holds a value");
        return *std::get_if<1>(&state_);
    }
    template <class U>
    T value_or(U&& fallback) const& {
        return has_value() ? value() : static_cast<T>(std::forward<U>(fallback));
    }

  private:
    void check() const { TDFS_INVARIANT(has_value(), "value() of a Result that holds an error"); }
    std::variant<T, E> state_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
  public:
    using value_type = void;
    using error_type = E;

    Result() = default;
    Result(Unexpected<E> e) : error_(std::move(e.error())) {}  // NOLINT(*-explicit-*)

    [[nodiscard]] bool has_value() const { return !error_; }
    explicit operator bool() const { return has_value(); }
    const E& error() const {
        TDFS_INVARIANT(error_.has_value(), "error() of a Result that holds a value");
        return *error_;
    }

  private:
    std::optional<E> error_;
};

}  // namespace tdfs
