#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "emulator/front/reflection.h"
#include "emulator/runtime/launch.h"
#include "emulator/runtime/wire.h"

/// What stands on the command line of `emulate`.
namespace kw::app {

/// A scalar type of Metal under the names of Plans.
struct ElementType {
  std::string_view name;  // "f32", "u32", ...
  uint32_t bytes = 4;
  double (*load)(const void* at) = nullptr;
  void (*store)(void* at, double value) = nullptr;
};
const ElementType* element_type(std::string_view name);

struct EmulateArg {
  enum class Kind { scalar, given, out };
  Kind kind = Kind::given;
  ElementType type;
  std::vector<int64_t> shape;  // of buffers
  std::string content;         // empty for out
  bool is_scalar() const { return kind == Kind::scalar; }
  uint64_t bytes() const;
};

/// "out:f32[4,8]", "rand:f16[8]", "zeros:", "ones:", "iota:", "file=PATH:u32[8]", "u32:7". fails: arguments
Result<EmulateArg> parse_argument(std::string_view text, uint64_t seed);
/// N(0, 1), or small integers for integer types.
EmulateArg random_argument(const ElementType& type, const std::vector<int64_t>& shape, uint64_t seed);
/// "X", "X,Y" or "X,Y,Z". fails: arguments
Result<emulator::Size3> parse_size3(std::string_view flag, std::string_view text);
/// "INDEX=BYTES". fails: arguments
Result<emulator::wire::GroupBytes> parse_group_bytes(std::string_view text);
/// "NAME=bool:true" or "INDEX=u32:4". fails: arguments
Result<emulator::wire::ConstantValue> parse_constant(std::string_view text, const emulator::Reflection& reflection);

}  // namespace kw::app
