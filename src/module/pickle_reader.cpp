#include "module/pickle_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "module/meta_reader.h"

namespace kw::module {
namespace {

constexpr int max_depth = 32;  // of nested values: their destruction is recursive

enum class Kind : uint8_t { none, number, text, sequence, mapping, global, storage, tensor, mark };

struct Value;
using ValuePtr = std::shared_ptr<Value>;

struct Value {
  Kind kind = Kind::none;
  int depth = 1;
  bool integral = false;
  int64_t integer = 0;
  std::string text;             // of text; the name of a global; the key of a storage
  std::vector<ValuePtr> items;  // of a sequence; keys and values in turn of a mapping
  DType dtype = DType::f32;     // of a storage
  PickledTensor tensor;
};

struct StorageRow {
  std::string_view name;
  DType dtype;
};
constexpr StorageRow storage_rows[] = {{"torch FloatStorage", DType::f32}, {"torch DoubleStorage", DType::f64},
                                       {"torch HalfStorage", DType::f16},  {"torch BFloat16Storage", DType::bf16},
                                       {"torch LongStorage", DType::i64},  {"torch IntStorage", DType::i32},
                                       {"torch ShortStorage", DType::i16}, {"torch CharStorage", DType::i8},
                                       {"torch ByteStorage", DType::u8},   {"torch BoolStorage", DType::boolean}};
constexpr std::string_view rebuild_tensor = "torch._utils _rebuild_tensor_v2",
                           rebuild_parameter = "torch._utils _rebuild_parameter",
                           ordered_dict = "collections OrderedDict", device = "torch device";

bool is_dtype(std::string_view name) {
  constexpr std::string_view names[] = {"float32", "float64", "float16", "bfloat16", "complex64", "complex128",
                                        "bool",    "uint8",   "int8",    "int16",    "int32",     "int64"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

const StorageRow* find_storage(std::string_view name) {
  const auto found = std::find_if(std::begin(storage_rows), std::end(storage_rows),
                                  [&](const StorageRow& row) { return row.name == name; });
  return found == std::end(storage_rows) ? nullptr : found;
}

/// Thrown inside this file only.
struct Refused {
  Failure failure;
};

[[noreturn]] void refuse(const std::string& what) {
  throw Refused{{"pt2.hostile", "the archive's pickled weights " + what,
                 "torch.export.save never writes such an archive of plain tensors; do not trust this file"}};
}

/// Storages that torch writes and we have no dtype for.
struct ForeignRow {
  std::string_view name, dtype;
};
constexpr ForeignRow foreign_rows[] = {{"torch ComplexFloatStorage", "complex64"},
                                       {"torch ComplexDoubleStorage", "complex128"}};

void refuse_foreign(std::string_view name) {
  for (const ForeignRow& row : foreign_rows)
    if (row.name == name)
      throw Refused{{"pt2.dtype",
                     fmt::format("a tensor of the archive has dtype {}, which is not supported", row.dtype),
                     "float16, bfloat16, float32, float64, bool, uint8 and int8 to int64 are"}};
}

/// The stack machine of a pickle. Each opcode is a row of `step`.
class Unpickler {
 public:
  explicit Unpickler(std::span<const std::byte> bytes) : bytes_(bytes) {}

  ValuePtr run() {
    while (!done_) step(byte());
    if (stack_.size() != 1) refuse("are no single value");
    return stack_[0];
  }

 private:
  uint8_t byte() {
    if (at_ >= bytes_.size()) refuse("end too early");
    return static_cast<uint8_t>(bytes_[at_++]);
  }

  uint64_t little(int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; ++i) value |= static_cast<uint64_t>(byte()) << (8 * i);
    return value;
  }

  std::string take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse("end too early");
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + at_, count);
    at_ += count;
    return text;
  }

  std::string line() {
    std::string text;
    for (char c; (c = static_cast<char>(byte())) != '\n';) text += c;
    return text;
  }

  ValuePtr push(Value value) {
    for (const ValuePtr& item : value.items) value.depth = std::max(value.depth, item->depth + 1);
    if (value.depth > max_depth) refuse("are nested too deeply");
    stack_.push_back(std::make_shared<Value>(std::move(value)));
    return stack_.back();
  }
  void push_integer(int64_t integer) { push({.kind = Kind::number, .integral = true, .integer = integer}); }
  void push_text(std::string text) { push({.kind = Kind::text, .text = std::move(text)}); }

  ValuePtr pop() {
    if (stack_.empty() || stack_.back()->kind == Kind::mark) refuse("take more values than there are");
    ValuePtr value = std::move(stack_.back());
    stack_.pop_back();
    return value;
  }

  std::vector<ValuePtr> pop_to_mark() {
    std::vector<ValuePtr> items;
    while (!stack_.empty() && stack_.back()->kind != Kind::mark) items.push_back(pop());
    if (stack_.empty()) refuse("take more values than there are");
    stack_.pop_back();
    std::reverse(items.begin(), items.end());
    return items;
  }

  void push_tuple(size_t count) {
    std::vector<ValuePtr> items(count);
    for (size_t i = count; i-- > 0;) items[i] = pop();
    push({.kind = Kind::sequence, .items = std::move(items)});
  }

  /// Appends to the value below. Only values without users grow, so that no value ever holds itself.
  void extend(Kind kind, std::vector<ValuePtr> items) {
    if (stack_.empty() || stack_.back()->kind != kind) refuse("fill something that is no container");
    if (kind == Kind::mapping && items.size() % 2 != 0) refuse("hold a key without a value");
    Value& into = *stack_.back();
    for (ValuePtr& item : items) {
      if (item.get() == &into) refuse("hold themselves");
      into.depth = std::max(into.depth, item->depth + 1);
      into.items.push_back(std::move(item));
    }
    if (into.depth > max_depth) refuse("are nested too deeply");
    // A container that is filled after it was put elsewhere could close a ring: torch's never are.
    if (stack_.back().use_count() > 2) refuse("hold themselves");
  }

  void push_global(const std::string& module, const std::string& name) {
    const std::string full = module + " " + name;
    if (module == "torch" && is_dtype(name)) {
      push({});
      return;
    }
    const bool known = find_storage(full) || full == rebuild_tensor || full == rebuild_parameter ||
                       full == ordered_dict || full == device;
    if (!known) refuse_foreign(full);
    if (!known) refuse(fmt::format("name `{}.{}`, which is no part of a tensor", module, name));
    push({.kind = Kind::global, .text = full});
  }

  /// ("storage", class, key, device, elements)
  void push_storage() {
    const ValuePtr id = pop();
    const auto& part = id->items;
    const bool formed = id->kind == Kind::sequence && part.size() == 5 && part[0]->text == "storage" &&
                        part[1]->kind == Kind::global && part[2]->kind == Kind::text && part[3]->kind == Kind::text &&
                        part[4]->integral && part[4]->integer >= 0;
    const StorageRow* row = formed ? find_storage(part[1]->text) : nullptr;
    if (!row) refuse("hold a storage of unknown form");
    Value storage{.kind = Kind::storage, .integer = part[4]->integer, .text = part[2]->text, .dtype = row->dtype};
    storage.tensor.on_meta = part[3]->text == "meta";
    push(std::move(storage));
  }

  static Shape sizes_of(const Value& value) {
    Shape sizes;
    if (value.kind != Kind::sequence) refuse("hold a tensor without sizes");
    for (const ValuePtr& item : value.items) {
      if (!item->integral) refuse("hold a tensor without sizes");
      sizes.push_back(item->integer);
    }
    return sizes;
  }

  /// (storage, offset, sizes, strides, requires_grad, hooks)
  void push_tensor(const std::vector<ValuePtr>& part) {
    if (part.size() < 6 || part[0]->kind != Kind::storage || !part[1]->integral)
      refuse("hold a tensor of unknown form");
    Value value{.kind = Kind::tensor};
    PickledTensor& tensor = value.tensor;
    tensor.meta = {part[0]->dtype, sizes_of(*part[2]), sizes_of(*part[3]), part[1]->integer};
    if (!is_addressable(tensor.meta)) refuse("hold a tensor with a negative size or stride, or more than 2^48 bytes");
    tensor.storage = part[0]->text;
    tensor.storage_elements = part[0]->integer;
    tensor.on_meta = part[0]->tensor.on_meta;
    push(std::move(value));
  }

  void reduce() {
    const ValuePtr arguments = pop(), function = pop();
    if (function->kind != Kind::global || arguments->kind != Kind::sequence) refuse("call something unknown");
    if (function->text == rebuild_tensor) return push_tensor(arguments->items);
    if (function->text == ordered_dict && arguments->items.empty()) {
      push({.kind = Kind::mapping});
      return;
    }
    if (function->text == device) {
      push({});
      return;
    }
    const bool parameter =
        function->text == rebuild_parameter && !arguments->items.empty() && arguments->items[0]->kind == Kind::tensor;
    if (!parameter) refuse("call something unknown");
    stack_.push_back(arguments->items[0]);
  }

  void remember(uint64_t slot) {
    if (stack_.empty() || slot > bytes_.size()) refuse("remember nothing");
    if (memo_.size() <= slot) memo_.resize(slot + 1);
    memo_[slot] = stack_.back();
  }
  void recall(uint64_t slot) {
    if (slot >= memo_.size() || !memo_[slot]) refuse("recall what was never kept");
    stack_.push_back(memo_[slot]);
  }

  void push_long() {
    const int count = byte();
    if (count > 8) refuse("hold a number beyond 64 bits");
    uint64_t bits = little(count);
    if (count > 0 && count < 8 && (bits >> (8 * count - 1) & 1)) bits |= ~uint64_t{0} << (8 * count);
    push_integer(static_cast<int64_t>(bits));
  }

  void step(uint8_t opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        const uint8_t version = byte();
        if (version < 2 || version > 4) refuse("have an unknown protocol");
        return;
      }
      case 0x95:
        little(8);
        return;  // FRAME
      case '.':
        done_ = true;
        return;
      case '(':
        push({.kind = Kind::mark});
        return;
      case 'N':
        push({});
        return;
      case 0x88:
        push_integer(1);
        return;
      case 0x89:
        push_integer(0);
        return;
      case 'J':
        push_integer(static_cast<int32_t>(little(4)));
        return;
      case 'K':
        push_integer(byte());
        return;
      case 'M':
        push_integer(static_cast<int64_t>(little(2)));
        return;
      case 0x8a:
        push_long();
        return;
      case 'G':
        little(8);
        push({.kind = Kind::number});
        return;  // a float: nothing needs its value
      case 'X':
        push_text(take(little(4)));
        return;
      case 0x8c:
        push_text(take(byte()));
        return;
      case 'c': {
        const std::string module = line();
        push_global(module, line());
        return;
      }
      case 0x93: {  // STACK_GLOBAL
        const ValuePtr name = pop(), module = pop();
        push_global(module->text, name->text);
        return;
      }
      case ')':
        push({.kind = Kind::sequence});
        return;
      case ']':
        push({.kind = Kind::sequence});
        return;
      case '}':
        push({.kind = Kind::mapping});
        return;
      case 't':
        push({.kind = Kind::sequence, .items = pop_to_mark()});
        return;
      case 0x85:
        push_tuple(1);
        return;
      case 0x86:
        push_tuple(2);
        return;
      case 0x87:
        push_tuple(3);
        return;
      case 'a': {
        ValuePtr item = pop();
        extend(Kind::sequence, {std::move(item)});
        return;
      }
      case 'e':
        extend(Kind::sequence, pop_to_mark());
        return;
      case 's': {
        ValuePtr value = pop(), key = pop();
        extend(Kind::mapping, {std::move(key), std::move(value)});
        return;
      }
      case 'u':
        extend(Kind::mapping, pop_to_mark());
        return;
      case 'b': {  // BUILD: a state_dict's `_metadata`
        pop();
        if (stack_.empty() || stack_.back()->kind != Kind::mapping) refuse("set an object's state");
        return;
      }
      case 'Q':
        push_storage();
        return;
      case 'R':
        reduce();
        return;
      case 'q':
        remember(byte());
        return;
      case 'r':
        remember(little(4));
        return;
      case 0x94:
        remember(memo_.size());
        return;
      case 'h':
        recall(byte());
        return;
      case 'j':
        recall(little(4));
        return;
      default:
        refuse(fmt::format("hold the opcode {:#x}, which tensors do not need", opcode));
    }
  }

  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  bool done_ = false;
  std::vector<ValuePtr> stack_, memo_;
};

}  // namespace

Result<std::map<std::string, PickledTensor>> read_pickled_tensors(std::span<const std::byte> pickle) {
  try {
    const ValuePtr top = Unpickler(pickle).run();
    if (top->kind != Kind::mapping) refuse("are no mapping from names");
    std::map<std::string, PickledTensor> tensors;
    for (size_t i = 0; i + 1 < top->items.size(); i += 2)
      if (top->items[i]->kind == Kind::text && top->items[i + 1]->kind == Kind::tensor)
        tensors.insert_or_assign(top->items[i]->text, top->items[i + 1]->tensor);
    return tensors;
  } catch (const Refused& refused) {
    return refused.failure;
  }
}

Status check_pickle(std::span<const std::byte> pickle) {
  try {
    Unpickler(pickle).run();
    return ok_status();
  } catch (const Refused& refused) {
    return refused.failure;
  }
}

}  // namespace kw::module
