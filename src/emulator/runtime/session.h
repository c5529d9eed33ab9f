#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "emulator/runtime/launch.h"
#include "emulator/runtime/vocabulary.h"
#include "emulator/runtime/wire.h"

/// Running compiled Metal kernels: the parent's side.
namespace kw {
class Child;
}
namespace kw::emulator {

struct BufferSpec {
  std::string name;
  uint64_t bytes = 0;
  bool initialised = true;       // false: reading what no launch wrote is a fault
  bool must_be_written = false;  // an uninitialised buffer with bytes left that no launch wrote is a fault
  bool counted = true;           // as traffic, in profiles
};

/// One launch. Buffer arguments name a buffer of Session::place_buffers by its number.
using Dispatch = wire::DispatchSpec;

struct RunOptions {
  Mode mode = Mode::plain;
  uint64_t seed = 0;        // order of threadgroups, simdgroups and threads; 0: ascending
  uint64_t step_limit = 0;  // per threadgroup, of barriers, simdgroup operations and (checked) memory accesses; 0 none
  int threads = 0;          // operating-system threads; 0: all usable cores
  double timeout_s = 60;    // per launch
  std::vector<wire::ConstantValue> constants;
};

/// A fault in the user's words. `kind` is stable: race, out-of-bounds, read-only, uninitialised, barrier-divergence,
/// warp-divergence, endless, threadgroup-memory, crash, unwritten.
struct Report {
  std::string kind;
  std::string sentence;
  std::string kernel;
  std::string buffer;  // of unwritten
  std::string file;
  uint32_t line = 0;
  std::string other_file;  // of the other access of a race, or the other barrier
  uint32_t other_line = 0;
};

struct RunReply {
  std::vector<wire::DispatchCounts> dispatches;  // one for each launch that ended
  std::vector<Report> reports;
};

class Session {
 public:
  /// Loads a compiled module in a sandboxed child. Faults in headers below `own_headers` are told by the user's line
  /// that led there, in the dialect's words. fails: run.sandbox, emulate.module
  static Result<std::unique_ptr<Session>> open(const std::filesystem::path& module,
                                               const std::filesystem::path& own_headers = {},
                                               const Vocabulary& words = metal_words);

  /// Lays the buffers out anew; their contents are zero. fails: run.memory
  Status place_buffers(const std::vector<BufferSpec>& buffers);
  /// Where to put or find a buffer's bytes. Invalid after place_buffers().
  char* data(size_t buffer);
  /// fails: run.crash, run.timeout, interrupted, emulate.launch (the request makes no sense)
  Result<RunReply> run(const std::vector<Dispatch>& dispatches, const RunOptions& options);

 private:
  Session(std::filesystem::path module, std::filesystem::path own_headers, const Vocabulary& words);
  Status start();
  std::vector<Report> sentences(const wire::Reply& reply) const;
  std::filesystem::path module_, own_headers_;
  Vocabulary words_;
  std::unique_ptr<Child> child_;
  std::vector<wire::RegionSpec> regions_;

 public:
  ~Session();
};

/// Beside the running program, or $KERNELWRIGHT_EMULATOR.
std::string emulator_worker();

}  // namespace kw::emulator
