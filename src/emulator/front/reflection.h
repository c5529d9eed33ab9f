#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "emulator/front/dialect.h"

namespace kw::emulator {

/// Where the value of a kernel's parameter comes from. The numbers are part of generated code (kw_emu::Source).
enum class ArgumentSource : uint8_t {
  buffer,
  threadgroup,
  position_in_grid,
  position_in_threadgroup,
  group_position_in_grid,
  threads_per_threadgroup,
  dispatch_threads_per_threadgroup,
  threadgroups_per_grid,
  threads_per_grid,
  index_in_threadgroup,
  index_in_simdgroup,
  simdgroup_in_threadgroup,
  simdgroups_per_threadgroup,
  dispatch_simdgroups_per_threadgroup,
  threads_per_simdgroup,
  index_in_quadgroup,
  quadgroup_in_threadgroup,
  quadgroups_per_threadgroup,
  unsupported,  // textures, samplers, tables of functions
};

enum class AddressSpace : uint8_t { none, device, constant, threadgroup, thread };

struct ArgumentDescription {
  std::string name;
  std::string type;  // as written, without address space, attribute and name: "const float*"
  ArgumentSource source = ArgumentSource::unsupported;
  std::optional<uint32_t> index;  // of a buffer or threadgroup argument
  AddressSpace address_space = AddressSpace::none;
  bool is_pointer = false;
  bool is_reference = false;
  bool is_written = false;  // not through a const type: the kernel may write it
  std::string only_if;      // function constant without which the argument is absent, or empty
  std::string attribute;    // as written, empty if it has none
  uint32_t line = 0;
};

struct KernelDescription {
  Dialect dialect = Dialect::metal;
  std::string name;        // what the host asks for
  std::string expression;  // the C++ function: "ns::rows<float, 4>"
  std::vector<ArgumentDescription> arguments;
  uint32_t max_total_threads = 0;  // 0: not stated, or not a plain number
  std::string file;
  uint32_t line = 0;  // of the kernel, or of its instantiation
};

struct ConstantDescription {
  std::string name;
  std::string type;
  std::optional<uint32_t> index;  // absent if it is not written as a number
  std::string file;
  uint32_t line = 0;
};

/// What a source offers, as data.
struct Reflection {
  std::vector<KernelDescription> kernels;
  std::vector<ConstantDescription> constants;

  const KernelDescription* find(std::string_view name) const {
    for (const KernelDescription& kernel : kernels)
      if (kernel.name == name) return &kernel;
    return nullptr;
  }
};

/// The row of a built-in attribute (`thread_position_in_grid`), or unsupported.
ArgumentSource builtin_source(std::string_view attribute);

}  // namespace kw::emulator
