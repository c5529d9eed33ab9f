#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/tensor.h"
#include "graph/problem.h"

namespace kw::judge {

/// How one floating-point input is filled; integer and bool inputs are always drawn within their observed domain.
struct SuiteRow {
  std::string_view name;
  std::string_view catches;
  void (*fill)(Tensor& tensor, const graph::InputDomain& domain, uint64_t seed, int magnitude);
  bool shares_offset = false;  // of all values: see Rules::offset
};
const std::vector<SuiteRow>& suite_table();
const SuiteRow& suite_row(std::string_view name);

enum class ParamDraw : uint8_t { own, redrawn, integers };
std::string_view name_of(ParamDraw draw);

/// User inputs of one suite. `draw` >= 0 takes the module's own example of that number where there is one ("own").
/// magnitude: largest integer of the suite "integers". one_hot_input: which float input is one-hot there; the
/// others are full-mantissa normals, so that sums hold one product each.
std::vector<Tensor> draw_inputs(const graph::Problem& problem, std::string_view suite, uint64_t seed, int draw,
                                int magnitude);

/// Parameters and buffers of the same shapes: the module's own; new ones of the original's mean and spread (so scales
/// are not 1, shifts not 0, variances positive); or small integers. Constants, integer buffers and masks stay.
std::map<std::string, Tensor> draw_params(const graph::Problem& problem, ParamDraw draw, uint64_t seed, int magnitude);

}  // namespace kw::judge
