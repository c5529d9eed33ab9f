#pragma once
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace kw {

/// An expected failure, as a value. `id` is stable ("pt2.truncated"), `message` is one sentence
/// without a full stop at its end, `hint` says what the user can do (may be empty).
struct Failure {
  std::string id;
  std::string message;
  std::string hint;
};

/// The user's or the environment's fault, caught at the edges (CLI, worker, C ABI): exit code 2.
struct UserError : std::runtime_error {
  explicit UserError(Failure f) : std::runtime_error(f.message), failure(std::move(f)) {}
  Failure failure;
};

/// A bug of ours. Never reachable from input.
struct BugError : std::logic_error {
  using std::logic_error::logic_error;
};

/// Throws BugError unless `condition` holds.
inline void check(bool condition, const char* what) {
  if (!condition) throw BugError(what);
}

struct Unit {};

/// Either a value or a Failure.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& operator*() { return std::get<0>(state_); }
  const T& operator*() const { return std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Failure& failure() const { return std::get<1>(state_); }
  /// The value, or throws UserError: for the edges only.
  T& value_or_throw() {
    if (!ok()) throw UserError(failure());
    return **this;
  }

 private:
  std::variant<T, Failure> state_;
};

using Status = Result<Unit>;
inline Status ok_status() { return Unit{}; }

}  // namespace kw
