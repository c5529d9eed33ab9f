#include "judge/draw.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>

#include "base/parallel.h"
#include "base/random.h"
#include "base/result.h"

namespace kw::judge {

namespace {

using graph::InputDomain;

constexpr int64_t block_elements = 4096;  // even: pairs never meet a block's edge

uint64_t mix(uint64_t a, uint64_t b) { return Random(a ^ (b * 0x9e3779b97f4a7c15u)).next(); }

/// Fills block by block on all cores; the values depend on the seed alone.
void fill_blocks(Tensor& tensor, uint64_t seed, const std::function<void(Random&, int64_t begin, int64_t end)>& body) {
  const int64_t count = element_count(tensor.shape);
  const int64_t blocks = (count + block_elements - 1) / block_elements;
  parallel_for(blocks, 4, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      Random random(mix(seed, static_cast<uint64_t>(block)));
      body(random, block * block_elements, std::min(count, (block + 1) * block_elements));
    }
  });
}

void fill_each(Tensor& tensor, uint64_t seed, const std::function<double(Random&, int64_t index)>& value) {
  fill_blocks(tensor, seed, [&](Random& random, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) store_element(tensor, i, value(random, i));
  });
}

int64_t last_axis(const Tensor& tensor) { return tensor.shape.empty() ? 1 : std::max<int64_t>(1, tensor.shape.back()); }

/// Uniform where the observed spread is a uniform's, else normal held to the observed range.
double own_value(Random& random, const InputDomain& domain) {
  const double width = domain.hi - domain.lo;
  if (!domain.observed || !std::isfinite(width)) return random.normal();
  const bool uniform = std::abs(domain.std - width / std::sqrt(12.0)) <= 0.1 * width / std::sqrt(12.0);
  if (uniform) return domain.lo + width * random.uniform();
  return std::clamp(domain.mean + domain.std * random.normal(), domain.lo, domain.hi);
}

void fill_own(Tensor& t, const InputDomain& domain, uint64_t seed, int) {
  fill_each(t, seed, [&](Random& r, int64_t) { return own_value(r, domain); });
}

void fill_normal(Tensor& t, const InputDomain&, uint64_t seed, int) {
  fill_each(t, seed, [](Random& r, int64_t) { return r.normal(); });
}

void fill_wide(Tensor& t, const InputDomain&, uint64_t seed, int) {
  fill_each(t, seed, [](Random& r, int64_t) { return r.normal() * std::exp2(24 * r.uniform() - 12); });
}

void fill_cancelling(Tensor& t, const InputDomain&, uint64_t seed, int) {
  fill_blocks(t, seed, [&](Random& r, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += 2) {
      const double x = r.normal();
      store_element(t, i, x);
      if (i + 1 < end) store_element(t, i + 1, -x * (1 + 0x1p-12));
    }
  });
}

void fill_integers(Tensor& t, const InputDomain&, uint64_t seed, int magnitude) {
  fill_each(t, seed, [&](Random& r, int64_t) { return static_cast<double>(r.integer(-magnitude, magnitude)); });
}

/// +-[1, 2) with every bit of the mantissa drawn: low-precision operands show at once.
double full_mantissa(Random& random) { return (random.next() & 1 ? 1 : -1) * (1 + random.uniform()); }

void fill_one_hot(Tensor& t, const InputDomain&, uint64_t seed, int) {
  const int64_t width = last_axis(t);
  fill_each(t, seed, [&](Random& r, int64_t i) {
    const auto hot = static_cast<int64_t>(mix(seed, static_cast<uint64_t>(i / width)) % static_cast<uint64_t>(width));
    return i % width == hot ? full_mantissa(r) : 0.0;
  });
}

void fill_offset(Tensor& t, const InputDomain&, uint64_t seed, int) {
  fill_each(t, seed, [](Random& r, int64_t) { return 1e4 + r.normal(); });
}

/// Small enough for a variance to lie near the usual epsilons, and for an activation to be nearly linear.
void fill_small(Tensor& t, const InputDomain&, uint64_t seed, int) {
  fill_each(t, seed, [](Random& r, int64_t) { return r.normal() * 0x1p-10; });
}

/// All equal: a spread of zero meets its epsilon, and every maximum is a tie.
void fill_constant(Tensor& t, const InputDomain&, uint64_t seed, int) {
  const double value = Random(seed).normal();
  fill_each(t, seed, [=](Random&, int64_t) { return value; });
}

/// The mirror of offset: a maximum that starts at 0, or none at all, makes every exponential vanish.
void fill_sunken(Tensor& t, const InputDomain&, uint64_t seed, int) {
  fill_each(t, seed, [](Random& r, int64_t) { return r.normal() - 1e4; });
}

void fill_negative(Tensor& t, const InputDomain&, uint64_t seed, int) {
  fill_each(t, seed, [](Random& r, int64_t) { return -0x1p-10 - std::abs(r.normal()); });
}

struct Extremes {
  double denormal, largest;
};

Extremes extremes_of(DType dtype) {
  if (dtype == DType::f16) return {0x1p-20, 65504};
  if (dtype == DType::bf16) return {0x1p-130, 0x1.fep127};
  if (dtype == DType::f64) return {0x1p-1040, std::numeric_limits<double>::max()};
  return {0x1p-140, std::numeric_limits<float>::max()};
}

/// Normal values with a special in about every 64th place. One kind a row of the outermost axis, and every eighth row
/// without any, so that a NaN that spreads does not hide the other kinds.
void fill_with_kinds(Tensor& t, uint64_t seed, const std::vector<double>& kinds) {
  size_t outer = 0;
  while (outer + 1 < t.shape.size() && t.shape[outer] == 1) ++outer;
  int64_t row_elements = 1;
  for (size_t axis = outer + 1; axis < t.shape.size(); ++axis) row_elements *= t.shape[axis];
  row_elements = std::max<int64_t>(row_elements, 1);
  const uint64_t first_kind = mix(seed, 1) % 8;
  fill_each(t, seed, [&](Random& r, int64_t i) {
    const int64_t row = i / row_elements;
    const uint64_t kind = (first_kind + static_cast<uint64_t>(row)) % 8;
    // One sure place a row, so that short rows meet their special too.
    const bool sure = i % row_elements == static_cast<int64_t>(mix(seed, static_cast<uint64_t>(row) + 2) %
                                                               static_cast<uint64_t>(row_elements));
    const double plain = r.normal();
    return kind < kinds.size() && (sure || r.uniform() < 1.0 / 64) ? kinds[kind] : plain;
  });
}

void fill_specials(Tensor& t, const InputDomain&, uint64_t seed, int) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Extremes extremes = extremes_of(t.dtype);
  fill_with_kinds(t, seed,
                  {std::numeric_limits<double>::quiet_NaN(), infinity, -infinity, -0.0, extremes.denormal,
                   extremes.largest, -extremes.largest});
}

/// For Plans that assume finite values: nothing that is not finite, nor overflows in a product or two.
void fill_finite_specials(Tensor& t, const InputDomain&, uint64_t seed, int) {
  const double large = t.dtype == DType::f16 ? 0x1p6 : 0x1p30;
  fill_with_kinds(t, seed, {-0.0, extremes_of(t.dtype).denormal, large, -large});
}

void fill_integral(Tensor& t, const InputDomain& domain, uint64_t seed) {
  const auto lo = static_cast<int64_t>(domain.observed ? domain.lo : 0);
  const auto hi = static_cast<int64_t>(domain.observed ? domain.hi : 1);
  const bool boolean = t.dtype == DType::boolean;
  fill_each(t, seed,
            [&](Random& r, int64_t) { return static_cast<double>(boolean ? r.integer(0, 1) : r.integer(lo, hi)); });
}

Tensor copy_of(const Tensor& tensor) {
  Tensor copy = Tensor::zeros(tensor.dtype, tensor.shape);
  std::copy_n(tensor.data, tensor.bytes(), copy.data);
  return copy;
}

// ---- parameters ----

struct Moments {
  double mean = 0, std = 0, lo = 0, hi = 0;
  bool finite = true, two_valued = true;
};

Moments moments_of(const Tensor& t) {
  const int64_t count = element_count(t.shape);
  Moments m;
  if (count == 0) return m;
  double sum = 0, squares = 0;
  const double first = load_element(t, 0);
  double second = first;
  m.lo = m.hi = first;
  for (int64_t i = 0; i < count; ++i) {
    const double x = load_element(t, i);
    m.finite = m.finite && std::isfinite(x);
    if (x != first && second == first) second = x;
    m.two_valued = m.two_valued && (x == first || x == second);
    m.lo = std::min(m.lo, x);
    m.hi = std::max(m.hi, x);
    sum += x;
    squares += x * x;
  }
  m.mean = sum / static_cast<double>(count);
  m.std = std::sqrt(std::max(0.0, squares / static_cast<double>(count) - m.mean * m.mean));
  m.two_valued = m.two_valued && second != first && count > 2;
  return m;
}

/// Weights that were exported without values: PyTorch's usual scale of 1 / sqrt(fan in).
Moments imagined_moments(const graph::ParamInfo& info) {
  int64_t fan_in = 1;
  for (size_t axis = 1; axis < info.shape.size(); ++axis) fan_in *= info.shape[axis];
  Moments m;
  const bool positive = info.kind == graph::ParamKind::buffer;
  m.mean = positive ? 1 : 0;
  m.lo = m.hi = m.mean;
  m.std = info.shape.size() > 1 ? 1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, fan_in))) : 0.0;
  m.two_valued = false;
  return m;
}

void shuffle_values(Tensor& t, uint64_t seed) {
  Random random(seed);
  for (int64_t i = element_count(t.shape) - 1; i > 0; --i) {
    const int64_t j = random.integer(0, i);
    const double kept = load_element(t, i);
    store_element(t, i, load_element(t, j));
    store_element(t, j, kept);
  }
}

void redraw(Tensor& t, const Moments& m, bool buffer, uint64_t seed) {
  const double spread = m.std > 1e-3 * std::abs(m.mean) && m.std > 0 ? m.std : 0.3;
  const bool positive = buffer && m.lo > 0;
  fill_each(t, seed, [&](Random& r, int64_t) {
    if (positive) return std::max(m.mean, m.std) * (0.5 + r.uniform());
    return m.mean + spread * r.normal();
  });
}

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a: the same on every machine, unlike std::hash
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

Tensor drawn_param(const graph::ParamInfo& info, const Tensor& original, ParamDraw draw, uint64_t seed, int magnitude) {
  const bool imagined = original.data == nullptr;
  const Moments moments = imagined ? imagined_moments(info) : moments_of(original);
  const uint64_t own_seed = mix(seed, hash_of(info.name));
  if (!imagined && moments.finite && moments.two_valued) {  // a mask of two values keeps its values, not their places
    Tensor shuffled = copy_of(original);
    shuffle_values(shuffled, own_seed);
    return shuffled;
  }
  if (!moments.finite) return original;
  Tensor made = Tensor::zeros(info.dtype, info.shape);
  if (draw == ParamDraw::integers)
    fill_integers(made, {}, own_seed, magnitude);
  else
    redraw(made, moments, info.kind == graph::ParamKind::buffer, own_seed);
  return made;
}

}  // namespace

const std::vector<SuiteRow>& suite_table() {
  static const std::vector<SuiteRow> rows = {
      {"own", "whatever the module meets in use", fill_own},
      {"normal", "signs and scales that the examples lack", fill_normal},
      {"specials", "NaN, infinities, -0, denormals and the largest values", fill_specials},
      {"finite_specials", "-0, denormals and large values, for Plans that assume finite values", fill_finite_specials},
      {"one_hot", "operands rounded to a lower precision; permuted indices", fill_one_hot},
      {"wide", "absolute tolerances; lost small terms", fill_wide},
      {"integers", "wrong indices: exact arithmetic must agree bit for bit", fill_integers},
      {"cancelling", "lost low bits where sums cancel", fill_cancelling},
      {"offset", "softmax without its maximum, E[x^2] - E[x]^2", fill_offset, true},
      {"sunken", "maxima that start from 0 before an exponential", fill_sunken, true},
      {"small", "a wrong epsilon; terms that matter near zero only", fill_small},
      {"constant", "divisions by a spread of zero; the order of ties", fill_constant, true},
      {"negative", "maxima that start from 0, padding by 0", fill_negative},
  };
  return rows;
}

const SuiteRow& suite_row(std::string_view name) {
  for (const SuiteRow& row : suite_table())
    if (row.name == name) return row;
  throw BugError("no such suite");
}

std::string_view name_of(ParamDraw draw) {
  constexpr std::array<std::string_view, 3> names = {"own", "redrawn", "integers"};
  return names[static_cast<size_t>(draw)];
}

std::vector<Tensor> draw_inputs(const graph::Problem& problem, std::string_view suite, uint64_t seed, int draw,
                                int magnitude) {
  if (suite == "own" && draw >= 0 && draw < static_cast<int>(problem.example_draws.size()))
    return problem.example_draws[static_cast<size_t>(draw)];
  std::vector<Tensor> inputs;
  int floats = 0, seen = 0;
  for (const graph::InputInfo& info : problem.graph.inputs) floats += is_float(info.dtype);
  const int hot = floats ? static_cast<int>(mix(seed, 7) % static_cast<uint64_t>(floats)) : 0;
  for (size_t i = 0; i < problem.graph.inputs.size(); ++i) {
    const graph::InputInfo& info = problem.graph.inputs[i];
    const InputDomain domain = i < problem.domains.size() ? problem.domains[i] : InputDomain{};
    Tensor tensor = Tensor::zeros(info.dtype, info.shape);
    const uint64_t own_seed = mix(seed, i + 100);
    if (!is_float(info.dtype)) {
      fill_integral(tensor, domain, own_seed);
    } else {
      const bool dense = suite == "one_hot" && seen != hot;
      suite_row(dense ? "normal" : suite).fill(tensor, domain, own_seed, magnitude);
      ++seen;
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

std::map<std::string, Tensor> draw_params(const graph::Problem& problem, ParamDraw draw, uint64_t seed, int magnitude) {
  std::map<std::string, Tensor> params = problem.params();
  for (const graph::ParamInfo& info : problem.graph.params) {
    Tensor& tensor = params[info.name];
    const bool fixed = info.kind == graph::ParamKind::constant || !is_float(info.dtype);
    if (tensor.data != nullptr && (fixed || draw == ParamDraw::own)) continue;
    tensor = fixed && tensor.data == nullptr ? Tensor::zeros(info.dtype, info.shape)
                                             : drawn_param(info, tensor, draw, seed, magnitude);
  }
  return params;
}

}  // namespace kw::judge
