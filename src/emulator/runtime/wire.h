#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "emulator/runtime/launch.h"
#include "emulator/runtime/profile.h"

/// What the parent and its worker say to each other: JSON texts.
namespace kw::emulator::wire {

struct RegionSpec {
  std::string name;
  uint64_t begin = 0, bytes = 0;
  bool initialised = true, must_be_written = false, counted = true;
};

struct BoundBuffer {
  uint32_t index = 0, region = 0;
  uint64_t offset = 0;
};

struct GroupBytes {
  uint32_t index = 0, bytes = 0;
};

struct ConstantValue {
  uint32_t index = 0;
  std::string bytes;  // in memory order
};

struct DispatchSpec {
  std::string kernel;
  std::vector<BoundBuffer> buffers;
  std::vector<GroupBytes> threadgroup;
  Dim dim;
  std::vector<uint64_t> only_groups;
};

struct Request {
  uint64_t memory_bytes = 0;
  Mode mode = Mode::plain;
  uint64_t seed = 0, step_limit = 0;
  int threads = 1;
  double timeout_s = 60;
  std::vector<RegionSpec> regions;
  std::vector<ConstantValue> constants;
  std::vector<DispatchSpec> dispatches;
};

struct DispatchCounts {
  double seconds = 0;
  uint32_t threadgroup_bytes = 0;
  Counts counts;
  ProfileCounts profile;
  uint64_t least_read_bytes = 0, least_written_bytes = 0;  // profile: each touched byte once
};

struct Unwritten {
  uint32_t region = 0;
  uint64_t bytes = 0, first_byte = 0;
};

struct Reply {
  std::string failure;  // of the request itself
  bool ended = false;   // the process ends after this answer
  std::vector<RawReport> reports;
  std::vector<std::string> report_kernels;  // beside reports
  std::vector<std::pair<std::string, std::string>> report_files;
  std::vector<DispatchCounts> dispatches;
  std::vector<Unwritten> unwritten;
};

std::string encode(const Request& request);
bool decode(const std::string& text, Request& request);
std::string encode(const Reply& reply);
/// False for anything that is not what encode() writes: the child is not trusted.
bool decode(const std::string& text, Reply& reply);

}  // namespace kw::emulator::wire
