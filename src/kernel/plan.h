#pragma once
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

/// The Plan: buffers and a list of kernel launches, which is all the host side there is.
namespace kw::kernel {

/// An integer expression over symbols: + - * / (floor) % ( ) min(a,b) max(a,b) ceil_div(a,b); comparisons in guards.
class SizeExpr {
 public:
  SizeExpr(int64_t value = 0);
  static Result<SizeExpr> parse(std::string_view text);
  /// fails: plan.symbol (unknown), plan.arithmetic (division by zero, overflow)
  Result<int64_t> evaluate(const std::map<std::string, int64_t>& symbols) const;
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

enum class Role : uint8_t { input, parameter, state, prepared, scratch, output };

struct Buffer {
  std::string name;
  Role role = Role::scratch;
  int index = 0;                // of an input or output
  std::string parameter;        // fqn, for parameter and state
  DType dtype = DType::f32;     // inputs, outputs, parameters: must equal the module's
  std::vector<SizeExpr> shape;  // may be empty in JSON for input, output, parameter, state: taken from the module
  bool dtype_given = false;     // of these four: false takes the module's dtype unchecked
};

struct ScalarArg {
  std::string type;  // "u32" "i32" "i64" "f32"
  SizeExpr value;
  std::optional<double> real;  // for f32
};
using Arg = std::variant<std::string, ScalarArg>;  // buffer name, or a scalar

struct Launch {
  std::string kernel;
  std::vector<Arg> args;
  std::array<SizeExpr, 3> groups{1, 1, 1};
  std::array<SizeExpr, 3> group{1, 1, 1};
};
struct Repeat;
using Step = std::variant<Launch, std::shared_ptr<Repeat>>;
struct Repeat {
  SizeExpr count;
  std::string index;  // usable in expressions inside
  std::vector<Step> steps;
};

struct SymbolSource {
  int input = 0;
  int dim = 0;
};

struct Plan {
  std::string target = "cpu";
  std::string isa;  // cpu: "avx512", "avx2", "neon" or "" for any
  std::map<std::string, SymbolSource> symbols;
  std::vector<std::string> guards;
  /// What the kernels take for granted of input values: "finite" (NaN and infinities may come out otherwise than from
  /// the module). The judge leaves out what is assumed away, and the certificate says so.
  std::vector<std::string> assumes;
  std::vector<Buffer> buffers;
  std::vector<Step> prepare;
  std::vector<Step> steps;
};

/// Strict: unknown keys, wrong types, oversize numbers and depth are refused. fails: plan.json, plan.field, ...
Result<Plan> parse_plan(std::string_view json);
std::string to_json(const Plan& plan);

/// What a module asks of a Plan: shapes and dtypes in order, parameters and state by name.
struct Signature {
  struct Slot {
    DType dtype;
    std::vector<int64_t> shape;
  };
  std::vector<Slot> inputs, outputs;
  std::map<std::string, Slot> parameters;  // parameters, buffers and constants
  std::vector<std::string> states;         // names that a call must update
};

struct Limits {
  int64_t max_bytes = int64_t{1} << 40;
  int64_t max_groups = int64_t{1} << 31;
  int64_t max_group = 1;
  int max_args = 64;
  int64_t max_launches = 1 << 16;  // repeats unrolled
};

/// A Plan with every expression evaluated for one set of input shapes: what a device executes.
struct BoundPlan {
  struct BoundBuffer {
    std::string name;
    Role role;
    int index;
    std::string parameter;
    DType dtype;
    std::vector<int64_t> shape;
    size_t bytes;
  };
  struct BoundLaunch {
    std::string kernel;
    std::vector<std::variant<int, int64_t, double>> args;  // buffer number, integer, real
    std::vector<std::string> arg_types;                    // "f32*" ... or the scalar's type
    std::array<int64_t, 3> groups, group;
  };
  std::vector<BoundBuffer> buffers;
  std::vector<BoundLaunch> prepare, steps;  // repeats unrolled
};

/// Names, arity, roles, every size, output and state coverage, limits.
/// fails: plan.guard (shape refused), plan.symbol, plan.arithmetic, plan.buffer (unknown, twice), plan.role,
/// plan.dtype, plan.shape, plan.arity (one kernel, two signatures), plan.limit, plan.unwritten
Result<BoundPlan> bind_plan(const Plan& plan, const Signature& signature, const Limits& limits = {});

/// Fills in the dtypes that the Plan left to the module: entries are generated from them.
void resolve_dtypes(Plan& plan, const BoundPlan& bound);

}  // namespace kw::kernel
