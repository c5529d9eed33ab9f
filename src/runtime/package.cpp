#include "runtime/package.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "runtime/isa.h"

namespace kw::runtime {
namespace {

constexpr uint64_t max_kernels_bytes = uint64_t{1} << 30;

bool write_all(int fd, const char* data, uint64_t bytes) {
  while (bytes > 0) {
    const ssize_t wrote = ::write(fd, data, bytes);
    if (wrote <= 0) return false;
    data += wrote;
    bytes -= static_cast<uint64_t>(wrote);
  }
  return true;
}

/// Loads a shared library from memory: through an anonymous file, else through a private temporary one.
void* load_library(const char* data, uint64_t bytes, std::string& why) {
  std::string path;
#ifdef __linux__
  int fd = ::memfd_create("kernelwright-kernels", MFD_CLOEXEC);
  if (fd >= 0) path = "/proc/self/fd/" + std::to_string(fd);
#else
  int fd = -1;
#endif
  char name[] = "/tmp/kernelwright-XXXXXX";
  const bool temporary = fd < 0;
  if (temporary) {
    fd = ::mkstemp(name);
    path = name;
  }
  void* library = nullptr;
  if (fd >= 0 && write_all(fd, data, bytes)) {
    library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) why = ::dlerror();
  } else {
    why = "there is no room for the kernels";
  }
  if (fd >= 0) ::close(fd);
  if (temporary) ::unlink(name);
  return library;
}

/// Zeroed, page-aligned, and with large pages where the system gives them.
void* arena(uint64_t bytes) {
  if (bytes == 0) bytes = 64;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
#ifdef MADV_HUGEPAGE
  if (bytes >= (4u << 20)) ::madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

void free_arena(void* memory, uint64_t bytes) {
  if (memory) ::munmap(memory, bytes == 0 ? 64 : bytes);
}

template <class T>
bool all_in_range(const void* data, uint64_t bytes, const IndexLimit& limit) {
  const T* begin = static_cast<const T*>(data);
  return std::all_of(begin, begin + bytes / sizeof(T), [&](T i) {
    return static_cast<int64_t>(i) >= limit.lowest && static_cast<int64_t>(i) < limit.below;
  });
}

struct IntegerRow {
  const char* dtype;
  bool (*check)(const void* data, uint64_t bytes, const IndexLimit& limit);
};
constexpr IntegerRow integers[] = {{"i64", all_in_range<int64_t>},
                                   {"i32", all_in_range<int32_t>},
                                   {"i16", all_in_range<int16_t>},
                                   {"i8", all_in_range<int8_t>},
                                   {"u8", all_in_range<uint8_t>}};

bool in_range(const BufferSpec& buffer, const void* data, const IndexLimit& limit) {
  for (const IntegerRow& row : integers)
    if (buffer.dtype == row.dtype) return row.check(data, buffer.bytes, limit);
  return true;
}

}  // namespace

Package::~Package() {
  engine_.reset();
  free_arena(prepared_arena_, program_.prepared_bytes);
  free_arena(own_workspace_, program_.workspace_bytes);
  if (library_) ::dlclose(library_);
}

int Package::load(const char* path, int threads, std::string& why) {
  if (!file_.open(path, why)) {
    why = std::string("cannot read the package `") + path + "`: " + why;
    return KW_FILE;
  }
  const std::string_view text = find_stored({file_.data(), file_.bytes()}, index_name);
  if (text.empty() || !decode_index(text, file_.bytes(), index_)) {
    why = std::string("`") + path + "` is no package, or is damaged";
    return KW_FILE;
  }
  for (const Variant& variant : index_.variants)
    if (isa_runs(variant.isa)) return load_variant(variant, threads, why);
  why = std::string("`") + path + "` holds no kernels for this machine";
  return KW_MACHINE;
}

int Package::load_variant(const Variant& variant, int threads, std::string& why) {
  isa_ = variant.isa;
  const std::string_view text(file_.data() + variant.program.offset, variant.program.bytes);
  if (!decode(text, program_, why)) {
    why = "the package is damaged: of its program " + why;
    return KW_FILE;
  }
  if (variant.binary.bytes > max_kernels_bytes)
    why = "its kernels are too large";
  else
    library_ = load_library(file_.data() + variant.binary.offset, variant.binary.bytes, why);
  if (!library_ || !resolve(why) || !collect_slots(why)) {
    why = "the package is damaged: " + why;
    return KW_FILE;
  }
  const int tuned = index_.threads > 0 ? std::min(index_.threads, usable_cores()) : usable_cores();
  engine_ = std::make_unique<Engine>(program_, entries_, threads > 0 ? threads : tuned);
  if (!bind_own_weights(why)) return KW_FILE;
  if (!make_arenas()) {
    why = "the package's buffers do not fit into memory";
    return KW_MEMORY;
  }
  return KW_OK;
}

bool Package::resolve(std::string& why) {
  for (const std::string& kernel : program_.kernels) {
    void* symbol = ::dlsym(library_, ("kw_entry_" + kernel).c_str());
    if (!symbol) {
      why = "the kernel " + kernel + " is missing";
      return false;
    }
    entries_.push_back(reinterpret_cast<Entry>(symbol));
  }
  return true;
}

/// Inputs and outputs by their position; two buffers for one position, or a gap, cannot be run.
bool Package::collect_slots(std::string& why) {
  for (const bool output : {false, true}) {
    auto& slots = output ? outputs_ : inputs_;
    auto& numbers = output ? output_buffers_ : input_buffers_;
    for (size_t i = 0; i < program_.buffers.size(); ++i) {
      const BufferSpec& buffer = program_.buffers[i];
      if (buffer.role != (output ? Role::output : Role::input)) continue;
      const auto position = static_cast<size_t>(buffer.index);
      if (position >= program_.buffers.size() + 4096) return why = "a position is out of range", false;
      if (slots.size() <= position) slots.resize(position + 1, nullptr), numbers.resize(position + 1, -1);
      if (slots[position]) return why = "two buffers share a position", false;
      slots[position] = &buffer;
      numbers[position] = static_cast<int>(i);
    }
  }
  return true;
}

bool Package::bind_own_weights(std::string& why) {
  bound_.assign(index_.weights.size(), nullptr);
  for (const Weight& weight : index_.weights)
    if (bind(weight.name.c_str(), file_.data() + weight.place.offset, why) != KW_OK) return false;
  for (size_t i = 0; i < program_.buffers.size(); ++i) {
    const BufferSpec& buffer = program_.buffers[i];
    const bool named = buffer.role == Role::parameter || buffer.role == Role::state;
    if (named && !engine_->buffer(static_cast<int>(i))) {
      why = "the package is damaged: it has no weight " + buffer.name;
      return false;
    }
  }
  return true;
}

bool Package::make_arenas() {
  prepared_arena_ = arena(program_.prepared_bytes);
  own_workspace_ = arena(program_.workspace_bytes);
  if (!prepared_arena_ || !own_workspace_) return false;
  engine_->set_prepared(prepared_arena_);
  engine_->set_workspace(own_workspace_);
  workspace_ = own_workspace_;
  return true;
}

int Package::bind(const char* name, void* data, std::string& why) {
  for (size_t w = 0; w < index_.weights.size(); ++w) {
    const Weight& weight = index_.weights[w];
    if (weight.name != name) continue;
    for (size_t i = 0; i < program_.buffers.size(); ++i) {
      const BufferSpec& buffer = program_.buffers[i];
      if ((buffer.role != Role::parameter && buffer.role != Role::state) || buffer.name != weight.name) continue;
      if (buffer.bytes != weight.place.bytes || buffer.dtype != weight.dtype) {
        why = "the package is damaged: " + weight.name + " has two sizes";
        return KW_FILE;
      }
      engine_->set_buffer(static_cast<int>(i), data);
    }
    bound_[w] = data;
    prepared_ = false;
    return KW_OK;
  }
  why = std::string("the package has no weight `") + name + "`";
  return KW_ARGUMENT;
}

void* Package::data(const char* name) const {
  for (size_t w = 0; w < index_.weights.size(); ++w)
    if (index_.weights[w].name == name) return bound_[w];
  return nullptr;
}

int Package::prepare(std::string&) {
  engine_->prepare();
  prepared_ = true;
  return KW_OK;
}

bool Package::indices_in_range(void* const* inputs, std::string& why) const {
  for (const IndexLimit& limit : index_.limits) {
    const auto at = static_cast<size_t>(limit.input);
    if (at >= inputs_.size() || !inputs_[at] || in_range(*inputs_[at], inputs[at], limit)) continue;
    why = "input " + std::to_string(at) + " holds an index outside [" + std::to_string(limit.lowest) + ", " +
          std::to_string(limit.below) + ")";
    return false;
  }
  return true;
}

int Package::run(void* const* inputs, void* const* outputs, void* workspace, std::string& why) {
  if (!indices_in_range(inputs, why)) return KW_ARGUMENT;
  if (!prepared_ && prepare(why) != KW_OK) return KW_MEMORY;
  void* wanted = workspace ? workspace : own_workspace_;
  if (wanted != workspace_) {
    engine_->set_workspace(wanted);
    workspace_ = wanted;
  }
  for (size_t i = 0; i < input_buffers_.size(); ++i)
    if (input_buffers_[i] >= 0) engine_->set_buffer(input_buffers_[i], inputs[i]);
  for (size_t i = 0; i < output_buffers_.size(); ++i)
    if (output_buffers_[i] >= 0) engine_->set_buffer(output_buffers_[i], outputs[i]);
  engine_->run();
  return KW_OK;
}

}  // namespace kw::runtime
