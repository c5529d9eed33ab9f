#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "emulator/front/compile.h"
#include "emulator/runtime/session.h"

/// A Metal source compiled, loaded and ready to launch.
namespace kw::emulator {

struct LibraryOptions {
  Mode mode = Mode::plain;  // of all launches: checked and profiled ones are compiled otherwise
  bool fast_math = false;
  std::vector<std::string> kernels;  // host names to compile; empty: all
  std::filesystem::path cache_dir;
};

class Library {
 public:
  /// fails: as compile_source and Session::open
  static Result<std::unique_ptr<Library>> open(const KernelSource& source, const LibraryOptions& options);
  const Reflection& reflection() const { return module_.reflection; }
  const KernelModule& module() const { return module_; }
  Session& session() { return *session_; }

 private:
  Library(KernelModule module, std::unique_ptr<Session> session)
      : module_(std::move(module)), session_(std::move(session)) {}
  KernelModule module_;
  std::unique_ptr<Session> session_;
};

/// Buffers and launches, gathered before anything runs.
class Job {
 public:
  /// A buffer of `spec` that starts with `content` (empty: zeros, or poison where it is not initialised).
  uint32_t buffer(const BufferSpec& spec, std::string content = {});
  /// A read-only buffer with these bytes; equal ones share it.
  uint32_t constant(const std::string& bytes);
  /// One launch of `kernel` with buffer arguments in the order of their indices.
  /// fails: emulate.arity, emulate.launch (a grid or group beyond the limits), emulate.coverage
  Status launch(const KernelDescription& kernel, const std::vector<uint32_t>& buffers,
                const std::vector<wire::GroupBytes>& threadgroup, const Dim& dim);
  /// Places and fills the buffers, then runs. fails: as Session
  Result<RunReply> run(Session& session, const RunOptions& options);
  const std::vector<BufferSpec>& buffers() const { return buffers_; }
  std::vector<Dispatch>& dispatches() { return dispatches_; }

 private:
  std::vector<BufferSpec> buffers_;
  std::vector<std::string> contents_;
  std::map<std::string, uint32_t> constants_;
  struct Declaration {
    std::string kernel, file;
    uint32_t line = 0;
  };
  std::map<std::string, Declaration> written_by_;  // by buffer: the last kernel that may write it
  std::vector<Dispatch> dispatches_;
};

/// The buffer arguments of a kernel, by index.
std::vector<const ArgumentDescription*> buffer_arguments(const KernelDescription& kernel);

/// Counts as people read them: a line each, for --profile. Occupancy and the least traffic are estimates and say so.
std::vector<std::pair<std::string, std::string>> profile_lines(const wire::DispatchCounts& counts, const Dim& dim);

/// The same counts as numbers under stable names, for --json.
std::vector<std::pair<std::string, uint64_t>> profile_numbers(const wire::DispatchCounts& counts);

}  // namespace kw::emulator
