#include <exception>
#include <new>

#include "runtime/kernelwright.h"
#include "runtime/package.h"

using kw::runtime::BufferSpec;
using kw::runtime::Package;
using kw::runtime::Weight;

struct kw_package {
  Package package;
};

namespace {

thread_local std::string last_error;

/// Nothing may leave a C function but a code.
template <class Body>
int guarded(Body body) {
  try {
    std::string why;
    const int code = body(why);
    if (code != KW_OK) last_error = why;
    return code;
  } catch (const std::exception& error) {
    last_error = error.what();
    return KW_MEMORY;
  }
}

struct DtypeRow {
  const char* name;
  DLDataType type;
};
const DtypeRow dtypes[] = {{"f16", {kDLFloat, 16, 1}}, {"bf16", {kDLBfloat, 16, 1}}, {"f32", {kDLFloat, 32, 1}},
                           {"f64", {kDLFloat, 64, 1}}, {"bool", {kDLBool, 8, 1}},    {"u8", {kDLUInt, 8, 1}},
                           {"i8", {kDLInt, 8, 1}},     {"i16", {kDLInt, 16, 1}},     {"i32", {kDLInt, 32, 1}},
                           {"i64", {kDLInt, 64, 1}}};

DLDataType dtype_of(const std::string& name) {
  for (const DtypeRow& row : dtypes)
    if (name == row.name) return row.type;
  return {kDLFloat, 32, 1};
}

bool same(const DLDataType& a, const DLDataType& b) {
  return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
}

/// Empty when the tensor is dense, on the CPU and of that dtype and shape; else what is wrong.
std::string complaint(const DLTensor& tensor, const std::string& dtype, const std::vector<int64_t>& shape) {
  if (tensor.device.device_type != kDLCPU) return "is not on the CPU";
  if (!same(tensor.dtype, dtype_of(dtype))) return "has another dtype than " + dtype;
  if (tensor.ndim != static_cast<int32_t>(shape.size())) return "has another number of dimensions";
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (tensor.shape[i] != shape[i]) return "has another shape";
    if (tensor.strides && shape[i] != 1 && tensor.strides[i] != stride) return "is not dense and row-major";
    stride *= shape[i];
  }
  return "";
}

void* first_byte(const DLTensor& tensor) { return static_cast<char*>(tensor.data) + tensor.byte_offset; }

bool check_slots(const std::vector<const BufferSpec*>& slots, const DLTensor* const* tensors, int count,
                 const char* what, std::string& why) {
  if (static_cast<size_t>(count) != slots.size()) {
    why = std::string("the package takes ") + std::to_string(slots.size()) + " " + what + "s, not " +
          std::to_string(count);
    return false;
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!slots[i]) continue;
    const std::string wrong = complaint(*tensors[i], slots[i]->dtype, slots[i]->shape);
    if (wrong.empty()) continue;
    why = std::string(what) + " " + std::to_string(i) + " " + wrong;
    return false;
  }
  return true;
}

std::vector<const Weight*> weights_of(const Package& package, bool states_only) {
  std::vector<const Weight*> out;
  for (const Weight& weight : package.index().weights)
    if (!states_only || weight.state) out.push_back(&weight);
  return out;
}

void fill(kw_tensor_info* info, const char* name, const std::string& dtype, const std::vector<int64_t>& shape) {
  *info = {name, dtype_of(dtype), static_cast<int32_t>(shape.size()), shape.data()};
}

constexpr int max_slots = 256;

}  // namespace

extern "C" {

int kw_load(const char* path, int threads, kw_package** package) {
  *package = nullptr;
  return guarded([&](std::string& why) {
    auto loaded = std::make_unique<kw_package>();
    const int code = loaded->package.load(path, threads, why);
    if (code == KW_OK) *package = loaded.release();
    return code;
  });
}

void kw_unload(kw_package* package) { delete package; }

const char* kw_last_error(void) { return last_error.c_str(); }

const char* kw_isa(const kw_package* package) { return package->package.isa().c_str(); }

int kw_count(const kw_package* package, int kind) {
  const Package& p = package->package;
  if (kind == KW_INPUT || kind == KW_OUTPUT) return static_cast<int>(p.slots(kind == KW_OUTPUT).size());
  return static_cast<int>(weights_of(p, kind == KW_STATE).size());
}

int kw_info(const kw_package* package, int kind, int index, kw_tensor_info* info) {
  return guarded([&](std::string& why) -> int {
    const Package& p = package->package;
    if (index < 0 || index >= kw_count(package, kind)) return why = "there is no tensor of that number", KW_ARGUMENT;
    const auto at = static_cast<size_t>(index);
    if (kind == KW_WEIGHT || kind == KW_STATE) {
      const Weight* weight = weights_of(p, kind == KW_STATE)[at];
      fill(info, weight->name.c_str(), weight->dtype, weight->shape);
      return KW_OK;
    }
    const BufferSpec* slot = p.slots(kind == KW_OUTPUT)[at];
    if (!slot) return why = "the kernels do not use that input", KW_ARGUMENT;
    fill(info, "", slot->dtype, slot->shape);
    return KW_OK;
  });
}

uint64_t kw_workspace_bytes(const kw_package* package) { return package->package.program().workspace_bytes; }

int kw_bind_data(kw_package* package, const char* name, void* data) {
  return guarded([&](std::string& why) { return package->package.bind(name, data, why); });
}

int kw_bind(kw_package* package, const char* name, const DLTensor* tensor) {
  return guarded([&](std::string& why) -> int {
    for (const Weight* weight : weights_of(package->package, false)) {
      if (weight->name != name) continue;
      const std::string wrong = complaint(*tensor, weight->dtype, weight->shape);
      if (!wrong.empty()) return why = std::string("the weight `") + name + "` " + wrong, KW_ARGUMENT;
    }
    return package->package.bind(name, first_byte(*tensor), why);
  });
}

void* kw_data(const kw_package* package, const char* name) { return package->package.data(name); }

int kw_prepare(kw_package* package) {
  return guarded([&](std::string& why) { return package->package.prepare(why); });
}

int kw_run(kw_package* package, const DLTensor* const* inputs, int input_count, DLTensor* const* outputs,
           int output_count, void*, void* workspace, uint64_t workspace_bytes) {
  return guarded([&](std::string& why) -> int {
    Package& p = package->package;
    if (!check_slots(p.slots(false), inputs, input_count, "input", why)) return KW_ARGUMENT;
    if (!check_slots(p.slots(true), outputs, output_count, "output", why)) return KW_ARGUMENT;
    if (input_count > max_slots || output_count > max_slots) return why = "too many tensors for kw_run", KW_ARGUMENT;
    if (workspace && (workspace_bytes < p.program().workspace_bytes || reinterpret_cast<uintptr_t>(workspace) % 64))
      return why = "the workspace is too small or not 64-byte aligned", KW_ARGUMENT;
    void* in[max_slots];
    void* out[max_slots];
    for (int i = 0; i < input_count; ++i) in[i] = first_byte(*inputs[i]);
    for (int i = 0; i < output_count; ++i) out[i] = first_byte(*outputs[i]);
    return p.run(in, out, workspace, why);
  });
}

int kw_run_data(kw_package* package, void* const* inputs, void* const* outputs) {
  return guarded([&](std::string& why) { return package->package.run(inputs, outputs, nullptr, why); });
}

}  // extern "C"
