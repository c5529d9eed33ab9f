#include "field.h"

#include <cmath>
#include <map>

#include "base/random.h"
#include "graph/interpret.h"

namespace kw::redteam {
namespace {

struct Draw {
  std::vector<Tensor> inputs;
  std::vector<graph::Reference> expected;
};
struct Draws {
  std::vector<Draw> plain, scaled;
};

std::map<const graph::Problem*, Draws>& all_draws() {
  static std::map<const graph::Problem*, Draws> draws;
  return draws;
}

Draw make_draw(const graph::Problem& problem, uint64_t seed, double scale) {
  Random random(seed);
  Draw draw;
  for (const graph::InputInfo& info : problem.graph.inputs) {
    Tensor tensor = Tensor::zeros(info.dtype, info.shape);
    for (int64_t i = 0; i < element_count(info.shape); ++i)
      store_element(tensor, i,
                    is_float(info.dtype) ? scale * random.uniform() : static_cast<double>(random.integer(0, 10)));
    draw.inputs.push_back(tensor);
  }
  graph::InterpretOptions options;
  options.bounds = false;
  draw.expected =
      std::move(graph::interpret(problem.graph, draw.inputs, problem.params(), options).value_or_throw()).outputs;
  return draw;
}

bool close(const graph::Reference& expected, const Tensor& got, double tolerance) {
  if (got.dtype != expected.dtype || got.shape != expected.shape) return false;
  for (int64_t i = 0; i < element_count(got.shape); ++i) {
    const double want = expected.value[static_cast<size_t>(i)], have = load_element(got, i);
    if (!(std::abs(have - want) <= tolerance * (1 + std::abs(want)))) return false;
  }
  return true;
}

bool passes(target::Session& session, const Draw& draw, double tolerance) {
  const auto reply = session.run(draw.inputs, {});
  if (!reply || reply->outputs.size() != draw.expected.size()) return false;
  for (size_t i = 0; i < draw.expected.size(); ++i)
    if (!close(draw.expected[i], reply->outputs[i], tolerance)) return false;
  return true;
}

}  // namespace

void prepare_field(const graph::Problem& problem) {
  Draws& draws = all_draws()[&problem];
  if (!draws.plain.empty()) return;
  for (uint64_t i = 0; i < 100; ++i) draws.plain.push_back(make_draw(problem, 1000 + i, 1));
  for (const double scale : {1.0, 3.0, 0.01, -1.0}) draws.scaled.push_back(make_draw(problem, 2000, scale));
}

std::array<bool, field_rows.size()> pass_field(const graph::Problem& problem, target::Session& session) {
  std::array<bool, field_rows.size()> passed{};
  const Draws& draws = all_draws().at(&problem);
  if (!session.bind(problem.params()).ok()) return passed;
  for (size_t row = 0; row < field_rows.size(); ++row) {
    const std::vector<Draw>& set = field_rows[row].scaled ? draws.scaled : draws.plain;
    passed[row] = true;
    for (int i = 0; i < field_rows[row].draws && passed[row]; ++i)
      passed[row] = passes(session, set[static_cast<size_t>(i)], field_rows[row].tolerance);
  }
  return passed;
}

}  // namespace kw::redteam
