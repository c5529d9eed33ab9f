#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "graph/graph.h"

/// Tile IR: about 16 statements over typed expressions; one emitter prints it in every dialect.
namespace kw::kernel::tile {

/// An element type and a number of lanes: 1 for a scalar, else a machine vector. f16 and bf16 exist only in
/// memory: a load widens them to f32, a store rounds. A boolean vector is a mask.
struct Type {
  DType dtype = DType::f32;
  int lanes = 1;
  bool operator==(const Type&) const = default;
};
inline constexpr Type index_type{DType::i64, 1};
inline constexpr Type bool_type{DType::boolean, 1};

enum class Op : uint8_t {
  imm,
  var,
  add,
  sub,
  mul,
  div,  // of integers: floor
  mod,  // of integers: sign of the divisor
  min,  // of integers only: floats use call "min", which propagates NaN
  max,
  lt,
  le,
  eq,
  ne,
  land,
  lor,
  lnot,
  band,
  bor,
  bxor,
  bnot,
  shl,
  shr,
  neg,
  select,  // args: condition, then, else; a scalar condition evaluates one side only
  cast,
  splat,  // scalar to vector
  ramp,   // scalar i64 x to the integer vector x, x+1, ...
  call,   // name is a row of the dialect's function table ("exp", "tanh", "floor_div", ...)
  load,   // name is an array; args: indices (one flat index for global arrays); contiguous when a vector
  gather  // name is a global array; args: scalar base index, lane stride: lanes base + lane * stride
};

struct ExprNode;
/// An immutable expression with value semantics. Scalar i64 arithmetic simplifies as it is built.
class Expr {
 public:
  Expr() = default;
  Expr(int64_t value);
  Expr(int value) : Expr(static_cast<int64_t>(value)) {}
  explicit Expr(std::shared_ptr<const ExprNode> node) : node_(std::move(node)) {}
  const ExprNode* operator->() const { return node_.get(); }
  const ExprNode& operator*() const { return *node_; }
  explicit operator bool() const { return node_ != nullptr; }
  Type type() const;
  /// The value of an integer (or boolean) constant.
  bool is_constant(int64_t value) const;

 private:
  std::shared_ptr<const ExprNode> node_;
};

struct ExprNode {
  Op op = Op::imm;
  Type type;
  double real = 0;      // imm of a float type
  int64_t integer = 0;  // imm of an integer or boolean type
  std::string name;
  DType stored = DType::f32;  // load, gather: the array's element type
  std::vector<Expr> args;
  int64_t lo = std::numeric_limits<int64_t>::min();  // known inclusive range of a scalar integer
  int64_t hi = std::numeric_limits<int64_t>::max();
  uint64_t hash = 0;
};

bool same(const Expr& a, const Expr& b);

Expr imm(double value, Type type);
Expr var(std::string name, Type type);
/// A scalar i64 in [0, extent).
Expr index_var(std::string name, int64_t extent);
Expr index_var_in(std::string name, int64_t lo, int64_t hi_inclusive);
/// Any operator on operands of one type; result lanes follow the operands. Integer scalars simplify.
Expr binary(Op op, Expr a, Expr b);
Expr operator+(Expr a, Expr b);
Expr operator-(Expr a, Expr b);
Expr operator*(Expr a, Expr b);
Expr operator/(Expr a, Expr b);
Expr operator%(Expr a, Expr b);
Expr operator<(Expr a, Expr b);
Expr operator>=(Expr a, Expr b);
Expr operator&&(Expr a, Expr b);
Expr min_of(Expr a, Expr b);
Expr max_of(Expr a, Expr b);
Expr unary(Op op, Expr a);
Expr select(Expr condition, const Expr& a, const Expr& b);
Expr cast(Expr a, DType dtype);
Expr splat(Expr a, int lanes);
Expr ramp(Expr a, Type type);
Expr call(std::string name, Type type, std::vector<Expr> args);
/// Element(s) of an array; f16 and bf16 arrive as f32.
Expr load(std::string array, DType stored, std::vector<Expr> indices, int lanes = 1);
Expr gather(std::string array, DType stored, Expr base, Expr stride, int lanes);
/// `e` with variable `name` replaced.
Expr substitute(const Expr& e, const std::string& name, const Expr& value);
bool mentions(const Expr& e, const std::string& name);
/// d such that e(name + 1) - e(name) == d whatever name is, when e is affine in it; `known` false else.
struct Stride {
  bool known = false;
  int64_t step = 0;
};
Stride stride_of(const Expr& e, const std::string& name);
/// Largest power of two (at most 64) that divides e whatever its variables are.
int64_t divisor_of(const Expr& e);
std::string to_text(const Expr& e);

enum class Bind : uint8_t { grid, block, simd, lane, serial, unroll, vector };
/// fragment: 8x8 matrices that a simdgroup holds together, one a place of the shape.
enum class Space : uint8_t { global, shared, local, reg, fragment };

struct Stmt;
using Block = std::vector<Stmt>;

/// for var in [begin, end) by step. grid: the loop is a group coordinate (in order x, y, z); block: its turns are
/// shared out among the threads of a group; simd: var is the number of the simdgroup, lane: the position in it; unroll:
/// expanded by the emitter, so begin, end and step are constants; vector: expanded into lanes is not done here: write
/// vector types.
struct For {
  Bind bind = Bind::serial;
  std::string var;
  Expr begin, end, step;
  std::shared_ptr<Block> body;
};
/// A mutable array (shape []: a variable). reg arrays are indexed by constants once unrolled.
struct Alloc {
  Space space = Space::local;
  Type type;
  std::string name;
  std::vector<int64_t> shape;
};
struct Let {
  std::string name;
  Expr value;
};
/// To an Alloc of space reg, or a shape [] one.
struct Assign {
  std::string name;
  std::vector<Expr> index;
  Expr value;
};
/// To a global, shared or local array; as many lanes as value has, contiguous. Rounds to the stored type.
struct Store {
  std::string array;
  DType stored = DType::f32;
  std::vector<Expr> index;
  Expr value;
};
struct If {
  Expr condition;
  std::shared_ptr<Block> then, otherwise;  // otherwise may be null
};
/// acc[m, n] += a[m, k] * b[k, n] on fragments; indices are constants once unrolled.
struct Mma {
  std::string acc, a, b;
  std::vector<Expr> acc_index, a_index, b_index;
};
struct FragmentFill {
  std::string name;
  std::vector<Expr> index;
  double value = 0;
};
/// to += from, element by element.
struct FragmentAdd {
  std::string to, from;
  std::vector<Expr> index;
};
/// Between a fragment and a shared array: its element (r, c) stands at place + r * row_step + c, or with `transposed`
/// at place + c * row_step + r.
struct FragmentLoad {
  std::string name;
  std::vector<Expr> index;
  std::string array;
  Expr place;
  int64_t row_step = 8;
  bool transposed = false;
};
struct FragmentStore {
  std::string name;
  std::vector<Expr> index;
  std::string array;
  Expr place;
  int64_t row_step = 8;
};
struct AsyncCopy {
  std::string to, from;
  Expr to_index, from_index;
  Expr count;
  DType stored = DType::f32;
};
struct Wait {
  int pending = 0;
};
struct Barrier {
  Space space = Space::shared;
};
/// name = reduction of value over its lanes (CPU) or over the simdgroup (GPU).
struct LaneReduce {
  std::string name;
  graph::ReduceOp op = graph::ReduceOp::sum;
  Expr value;
};
struct Atomic {
  graph::ReduceOp op = graph::ReduceOp::sum;
  std::string array;
  DType stored = DType::f32;
  Expr index, value;
};
struct CallStmt {
  std::string function;  // of the Lowered's own text or of the dialect's table
  std::vector<Expr> args;
};
struct Stmt : std::variant<For, Alloc, Let, Assign, Store, If, Mma, AsyncCopy, Wait, Barrier, LaneReduce, Atomic,
                           CallStmt, FragmentFill, FragmentAdd, FragmentLoad, FragmentStore> {
  using variant::variant;
  const variant& base() const { return *this; }
  variant& base() { return *this; }
};

For loop(Bind bind, std::string var, Expr begin, Expr end, Block body, Expr step = 1);
If branch(Expr condition, Block then, Block otherwise = {});

/// A pointer (a global array) when `array`, else a scalar.
struct Param {
  std::string name;
  DType dtype = DType::f32;
  bool array = true;
  bool written = false;
};
struct Function {
  std::string name;
  std::vector<Param> params;
  Block body;
  int group = 1;  // threads of a group
};

}  // namespace kw::kernel::tile
