#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "module/program.h"

namespace kw::module {

/// A tensor as a pickle of torch.save describes it: its layout, and the name of the member with its storage.
struct PickledTensor {
  TensorMeta meta;
  std::string storage;  // "0": member data/0 beside data.pkl
  int64_t storage_elements = 0;
  bool on_meta = false;
};

/// Reads the pickle (protocol 2 to 4) of a mapping from names to tensors, as torch 2.8 wrote weights. Knows numbers,
/// text, tuples, lists, dictionaries, storages and the two functions that rebuild tensors and parameters; nothing is
/// ever called. Values of other kinds than tensors are left out.
/// fails: pt2.hostile (any other global, or no well-formed pickle), pt2.dtype
Result<std::map<std::string, PickledTensor>> read_pickled_tensors(std::span<const std::byte> pickle);

/// Whether a pickle names nothing but what read_pickled_tensors knows; its top value may be anything made of that.
Status check_pickle(std::span<const std::byte> pickle);

}  // namespace kw::module
