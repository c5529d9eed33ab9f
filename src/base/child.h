#pragma once
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kw {

/// A process of ours that runs foreign code: a socket to talk over, memory to share, killed with this object.
/// Messages are text with a length before it; what the child sends is untrusted.
class Child {
 public:
  /// The child finds its end of the socket and the memory under these numbers.
  static constexpr int socket_fd = 3, memory_fd = 4;

  /// Runs argv[0]. fails: run.memory, run.sandbox
  static Result<std::unique_ptr<Child>> start(const std::vector<std::string>& argv, uint64_t shared_bytes);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// The shared memory; grows (and moves) by resize(). The child has to map it anew.
  char* memory() const { return memory_; }
  uint64_t memory_bytes() const { return memory_bytes_; }
  Status resize(uint64_t shared_bytes);

  bool alive() const { return pid_ > 0; }
  void kill();
  /// Sends a message and waits for the answer. fails: run.dead, run.timeout, interrupted, run.crash (with the signal
  /// in the sentence), run.protocol (more than `limit_bytes`)
  Result<std::string> ask(std::string_view message, double timeout_s, uint64_t limit_bytes);

 private:
  Child() = default;
  bool receive(void* into, uint64_t bytes, double deadline_s, bool& late);
  Failure lost(bool late, double timeout_s);
  int socket_ = -1, memory_file_ = -1;
  pid_t pid_ = -1;
  char* memory_ = nullptr;
  uint64_t memory_bytes_ = 0;
};

/// The child's side: whole messages. False when the other end is gone.
bool send_message(int fd, std::string_view message);
bool receive_message(int fd, std::string& message, uint64_t limit_bytes);

}  // namespace kw
