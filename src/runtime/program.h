#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// A bound plan as the engine reads it: buffers with their place, launches with their arguments, no expressions.
namespace kw::runtime {

enum class Role : uint8_t { input, parameter, state, prepared, scratch, output };

struct BufferSpec {
  Role role = Role::scratch;
  int index = 0;      // of an input or output
  std::string name;   // of a parameter or state: its qualified name; else the plan's
  std::string dtype;  // "f32", "bf16", "bool", ...
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  uint64_t offset = 0;  // scratch: in the workspace; prepared: in the prepared arena; 64-byte aligned
};

struct Argument {
  enum class Kind : uint8_t { buffer, integer, real } kind = Kind::buffer;
  int64_t integer = 0;  // buffer number or value
  double real = 0;
};

struct Launch {
  int kernel = 0;  // index into Program::kernels
  std::vector<Argument> args;
  std::array<int64_t, 3> groups{1, 1, 1};
  int64_t count() const { return groups[0] * groups[1] * groups[2]; }
};

struct Program {
  std::vector<std::string> kernels;
  std::vector<BufferSpec> buffers;
  std::vector<Launch> prepare, steps;
  uint64_t workspace_bytes = 0;
  uint64_t prepared_bytes = 0;
};

/// Bytes of one element of the named type, 0 when unknown.
uint64_t dtype_bytes(std::string_view name);

/// A line of text for each kernel, buffer and launch.
std::string encode(const Program& program);
/// Strict: anything unexpected, out of range or overlapping the arenas' ends is refused with a reason.
bool decode(std::string_view text, Program& program, std::string& why);

/// Names with any byte: percent-encoded so that a space always ends a field.
std::string escape(std::string_view name);
bool unescape(std::string_view field, std::string& name);

/// Splits text into space-separated fields, line by line, with strict number parsing.
class Fields {
 public:
  explicit Fields(std::string_view text) : text_(text) {}
  bool word(std::string_view& out);          // next field on this line
  bool expect(std::string_view literal);     // next field equals it
  bool number(int64_t& out);                 // decimal, whole field
  bool size(uint64_t& out, uint64_t limit);  // 0..limit
  bool real(double& out);                    // hexadecimal bits of a double
  bool name(std::string& out);
  bool end_line();
  bool at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

}  // namespace kw::runtime
