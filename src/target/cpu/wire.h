#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// What the parent and its worker say to each other over a socket: fixed headers, then bytes.
namespace kw::target {

enum class Command : uint32_t { load, bind, run, time };

struct Request {
  Command command = Command::load;
  uint32_t fill_bits = 0;
  int32_t threads = 1;
  int32_t warmup = 0;
  int32_t calls = 0;
  int32_t by_step = 0;
  int32_t isolated = 0;
  int32_t reserved = 0;
  uint64_t shift_bytes = 0;
  uint64_t text_bytes = 0;  // the program, for load
};

enum class Outcome : uint32_t { done, failed, crashed };

struct Reply {
  Outcome outcome = Outcome::done;
  int32_t signal = 0;
  int32_t launch = 0;    // running when it crashed: a step, or -1 - prepare launch
  int32_t buffer = -1;   // nearest to the faulting address, -1 unknown
  int64_t distance = 0;  // bytes from the buffer's first byte
  uint32_t write = 0;
  uint32_t reserved = 0;
  uint64_t text_bytes = 0;
  uint64_t doubles = 0;
};

bool send_all(int fd, const void* data, uint64_t bytes);
bool receive_all(int fd, void* data, uint64_t bytes);

}  // namespace kw::target
