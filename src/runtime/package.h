#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/archive.h"
#include "runtime/engine.h"
#include "runtime/kernelwright.h"

namespace kw::runtime {

/// A loaded package: mapped weights, the kernels of this machine's variant, arenas. Behind the C interface.
class Package {
 public:
  ~Package();
  /// 0 or a KW_ code with `why` filled.
  int load(const char* path, int threads, std::string& why);

  int bind(const char* name, void* data, std::string& why);
  int prepare(std::string& why);
  int run(void* const* inputs, void* const* outputs, void* workspace, std::string& why);

  const Index& index() const { return index_; }
  const Program& program() const { return program_; }
  const std::string& isa() const { return isa_; }
  const std::vector<const BufferSpec*>& slots(bool output) const { return output ? outputs_ : inputs_; }
  void* data(const char* name) const;

 private:
  int load_variant(const Variant& variant, int threads, std::string& why);
  bool resolve(std::string& why);
  bool collect_slots(std::string& why);
  bool bind_own_weights(std::string& why);
  bool make_arenas();
  bool indices_in_range(void* const* inputs, std::string& why) const;

  FileMap file_;
  Index index_;
  std::string isa_;
  Program program_;
  void* library_ = nullptr;
  std::vector<Entry> entries_;
  std::unique_ptr<Engine> engine_;
  std::vector<const BufferSpec*> inputs_, outputs_;
  std::vector<int> input_buffers_, output_buffers_;
  std::vector<void*> bound_;  // one a weight
  void* prepared_arena_ = nullptr;
  void* own_workspace_ = nullptr;
  void* workspace_ = nullptr;
  bool prepared_ = false;
};

}  // namespace kw::runtime
