#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "graph/interpret.h"

/// Values inside the float64 interpreter: strided views of shared buffers, so that most views cost nothing.
namespace kw::graph::interpreter {

/// Live bytes of one evaluation; buffers give theirs back when they die.
struct Ledger {
  std::atomic<size_t> live_bytes{0};
  size_t limit_bytes = 0;
};

/// Dense values; `bound` is null when every element is exact.
class Buffer {
 public:
  /// null when the ledger's limit does not admit it.
  static std::shared_ptr<Buffer> make(std::shared_ptr<Ledger> ledger, int64_t count, bool with_bound);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::unique_ptr<double[]> value;
  std::unique_ptr<double[]> bound;
  /// Of uncertain indices that a sort made: by place in this buffer, every index that may stand there.
  std::unordered_map<int64_t, std::vector<int64_t>> candidates;

 private:
  Buffer(std::shared_ptr<Ledger> ledger, size_t bytes) : ledger_(std::move(ledger)), bytes_(bytes) {}
  std::shared_ptr<Ledger> ledger_;
  size_t bytes_;
};

/// A view of a buffer: element (i, j, ...) is at offset + i * strides[0] + j * strides[1] + ...
struct Value {
  DType dtype = DType::f32;
  Shape shape;
  Shape strides;
  int64_t offset = 0;
  std::shared_ptr<Buffer> buffer;
  std::vector<Value> items;  // of a recur node, which has no buffer itself
  int64_t count() const { return element_count(shape); }
  bool has_bound() const { return buffer && buffer->bound != nullptr; }
};

Shape dense_strides(const Shape& shape);

/// Largest finite value, smallest normal value and storage roundoff that a dtype gives its results.
struct Limits {
  double largest = 0;
  double smallest = 0;
  double storage_roundoff = 0;  // of f16 and bf16 tensors; 0 else
};
Limits limits_of(DType dtype);
/// The largest finite value that a running sum may take: f16 and bf16 are summed in f32.
double largest_sum(DType dtype);

/// What evaluators share.
struct Context {
  const InterpretOptions& options;
  const std::map<std::string, Tensor>& params;
  std::shared_ptr<Ledger> ledger;
  std::atomic<int64_t> straddled{0};
  std::atomic<int64_t> overflowing{0};
  double roundoff(DType dtype) const;  // of one operation that computes in this dtype
  bool late() const { return options.deadline && std::chrono::steady_clock::now() >= *options.deadline; }
  /// parallel_for that leaves out what the deadline does not allow: who calls it must ask late() before the result is
  /// used.
  void parallel(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body) const;
};

/// A dense value to fill, or interpret.memory.
Result<Value> make_value(const Context& context, DType dtype, const Shape& shape, bool with_bound);
/// A tensor's elements as float64, exact.
Result<Value> load_value(const Context& context, const Tensor& tensor);
/// The view itself where it is row-major dense, a copy else.
Result<Value> dense(const Context& context, const Value& value);

/// Brings a computed value and bound into the dtype's range: beyond it is infinity (uncertain when the interval
/// straddles it), below its smallest normal an implementation may flush to zero.
inline void settle(double& value, double& bound, const Limits& limits) {
  const double size = value < 0 ? -value : value;
  if (size + bound <= limits.largest) {
    if (size - bound < limits.smallest && (value != 0 || bound != 0)) bound += limits.smallest;
    return;
  }
  void settle_beyond(double&, double&, const Limits&);
  settle_beyond(value, bound, limits);
}

/// Reads a view in row-major order, in blocks; neighbouring axes that lie dense are walked as one.
class Reader {
 public:
  explicit Reader(const Value& value);
  /// Elements [begin, begin + count) in row-major order: a pointer into the buffer or into `scratch`.
  const double* values(int64_t begin, int64_t count, double* scratch) const;
  const double* bounds(int64_t begin, int64_t count, double* scratch) const;  // zeros when exact

 private:
  const double* read(const double* base, int64_t begin, int64_t count, double* scratch) const;
  Shape shape_, strides_;
  const double* value_;
  const double* bound_;
};

/// Offsets of all index combinations of the given axes, row-major, from 0.
std::vector<int64_t> offsets_of(const Value& value, std::span<const int> axes);

Failure out_of_memory(const Context& context);

}  // namespace kw::graph::interpreter
