#include "operators.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "base/random.h"

namespace kw::redteam {
namespace {

using nlohmann::ordered_json;

/// Rounds to the ten bits of TF32, for the operators that cut precision.
constexpr const char* helpers = R"(
KW_INLINE float kw_round_tf32(float v) {
  uint32_t bits;
  __builtin_memcpy(&bits, &v, 4);
  if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0xfffu + ((bits >> 13) & 1u)) & 0xffffe000u;
  __builtin_memcpy(&v, &bits, 4);
  return v;
}
)";

struct TextRow {
  const char* name;
  const char* pattern;
  const char* replacement;
};

// Every place where the pattern is found is one mutant. Blanks around an operator tell it from a pointer's star.
constexpr TextRow text_rows[] = {
    {"bound one too far", R"( < (\w+; \+\+))", " <= $1"},
    {"bound one short", R"( < (\w+); \+\+)", " < $1 - 1; ++"},
    {"starts at one", R"((int64_t \w+) = 0;)", "$1 = 1;"},
    {"starts one later", R"((int64_t \w+) = ([a-z][\w.* ]*);)", "$1 = $2 + 1;"},
    {"every second turn", R"(\+\+(\w+)\))", "$1 += 2)"},
    {"< for <=", R"( <= )", " < "},
    {"<= for <", R"( < )", " <= "},
    {"> for >=", R"( >= )", " > "},
    {">= for <", R"( < (0|\d+) )", " >= $1 "},
    {"extremum of the wrong kind", R"( > (\w+(\[[^\]]*\])?) \|\|)", " < $1 ||"},
    {"and for or", R"( \|\| )", " && "},
    {"NaN is not asked for", R"( \|\| [\w.]+(\[[^\]]*\])? != [\w.]+(\[[^\]]*\])?)", ""},
    {"== for !=", R"( != )", " == "},
    {"- for +", R"( \+ )", " - "},
    {"+ for -", R"( - )", " + "},
    {"+ for *", R"( \* )", " + "},
    {"/ for *", R"( \* )", " / "},
    {"* for /", R"( / )", " * "},
    {"division left out", R"( / [\w.]+)", ""},
    {"factor left out", R"( \* [a-z]+\[[^\]]*\])", ""},
    {"summand left out", R"( \+ [a-z]+(\[[^\]]*\])?;)", ";"},
    {"remainder left out", R"( % \d+)", ""},
    {"/ for %", R"( % )", " / "},
    {"-= for +=", R"( \+= )", " -= "},
    {"= for +=", R"( \+= )", " = "},
    {"number one larger", R"(([ (\[])(\d+)(?=[;\]), ]))", "$1($2 + 1)"},
    {"number one smaller", R"(([ (\[])([1-9]\d*)(?=[;\]), ]))", "$1($2 - 1)"},
    {"wrong stride", R"( \* (\d\d+))", " * ($1 + 8)"},
    {"sum starts at one", R"((float \w+) = 0(?=[;,]))", "$1 = 1"},
    {"sum starts at a thousandth", R"((float \w+) = 0(?=[;,]))", "$1 = 1e-3f"},
    {"sum is not reset", R"(float (\w+) = 0;)", "float $1 = y[0];"},
    {"maximum starts at zero", R"(-KW_INF)", "0"},
    {"maximum starts at -1e9", R"(-KW_INF)", "-1e9f"},
    {"epsilon 100 times larger", R"((\de-)(\d+)f)", "($1$2f * 100)"},
    {"epsilon ten times smaller", R"((\de-)(\d+)f)", "($1$2f * 0.1f)"},
    {"no epsilon", R"( \+ \de-\d+f)", ""},
    {"constant off by 1/4096", R"((\d\.\d+f))", "($1 * 1.000244140625f)"},
    {"biased variance", R"( / (\w+);)", " / ($1 + 1);"},
    {"unbiased variance", R"( / (\d+)( \+|;))", " / ($1 - 1)$2"},
    {"no maximum subtracted", R"(kw_exp\(([^()]+) - top\))", "kw_exp($1)"},
    {"exp2 for exp", R"(kw_exp\()", "kw_exp2("},
    {"log2 for log", R"(kw_log\()", "kw_log2("},
    {"tanh for erf", R"(kw_erf\()", "kw_tanh("},
    {"erf for tanh", R"(kw_tanh\()", "kw_erf("},
    {"no square root", R"(kw_sqrt\()", "("},
    {"function in bf16", R"((kw_(exp|log|tanh|erf|sqrt))\()", "kw_apply_bf16($1, "},
    {"index one further", R"(([a-z]\w*)\[([^\[\]]+)\])", "$1[$2 + 1]"},
    {"index one back", R"(([a-z]\w*)\[([^\[\]]+)\])", "$1[$2 - 1]"},
    {"neighbours swapped", R"((y)\[([^\[\]]+)\])", "$1[($2) ^ 1]"},
    {"first element for all", R"(([a-z]\w*)\[([^\[\]]+)\])", "$1[0]"},
    {"operands in bf16", R"(([a-z]+\[[^\[\]]*\]) \* ([a-z]+\[[^\[\]]*\]))", "kw_round_bf16($1) * kw_round_bf16($2)"},
    {"operands in fp16", R"(([a-z]+\[[^\[\]]*\]) \* ([a-z]+\[[^\[\]]*\]))", "kw_round_f16($1) * kw_round_f16($2)"},
    {"operands in TF32", R"(([a-z]+\[[^\[\]]*\]) \* ([a-z]+\[[^\[\]]*\]))", "kw_round_tf32($1) * kw_round_tf32($2)"},
    {"one operand in TF32", R"(([a-z]+\[[^\[\]]*\]) \* )", "kw_round_tf32($1) * "},
    {"accumulator in bf16", R"((\w+) \+= ([^;]+);)", "$1 = kw_round_bf16($1 + ($2));"},
    {"accumulator in fp16", R"((\w+) \+= ([^;]+);)", "$1 = kw_round_f16($1 + ($2));"},
    {"accumulator in TF32", R"((\w+) \+= ([^;]+);)", "$1 = kw_round_tf32($1 + ($2));"},
    {"result in bf16", R"((y\[[^\[\]]*\]) = ([^;]+);)", "$1 = kw_round_bf16($2);"},
    {"result in fp16", R"((y\[[^\[\]]*\]) = ([^;]+);)", "$1 = kw_round_f16($2);"},
    {"result in TF32", R"((y\[[^\[\]]*\]) = ([^;]+);)", "$1 = kw_round_tf32($2);"},
    {"condition always true", R"(if \(([^()]*)\))", "if (true)"},
    {"condition never true", R"(if \(([^()]*)\))", "if (false)"},
    {"branches swapped", R"( \? ([^:?;]+) : ([^;]+);)", " ? $2 : $1;"},
    {"store left out", R"(y\[[^\[\]]*\] = [^;]+;)", ";"},
    {"update left out", R"(\w+ \+= [^;]+;)", ";"},
    {"every second group does its neighbour's work", R"(g\.x)", "(g.x / 2 * 2)"},
    {"all groups do the first one's work", R"(g\.x)", "(g.x * 0)"},
    {"row for column", R"(\bcol\b(?! =))", "row"},
    {"column for row", R"(\brow\b(?=[^ \[]))", "col"},
    {"difference turned round", R"((\w+(\[[^\[\]]*\])?) - (\w+)(?=[);]))", "$3 - $1"},
    {"quotient turned round", R"(([\w.]+(\[[^\[\]]*\])?) / ([\w.]+)(?=[);]))", "$3 / $1"},
};

constexpr const char* apply_helper =
    "template <class F> KW_INLINE float kw_apply_bf16(F f, float x) { return kw_round_bf16(f(x)); }\n";

struct Site {
  const TextRow* row;
  size_t at, length;
  std::string made;
};

/// Places in function bodies only: neither signatures nor preprocessor lines.
bool in_body(const std::string& source, size_t at) {
  const size_t begin = source.rfind('\n', at) + 1;
  const std::string_view line(source.data() + begin, std::min(source.find('\n', at), source.size()) - begin);
  if (line.empty() || line[0] != ' ') return false;
  return line.find("KW_") == std::string_view::npos && line.find("KwGroup") == std::string_view::npos;
}

std::vector<Site> sites_of(const TextRow& row, const std::string& source) {
  std::vector<Site> sites;
  const std::regex pattern(row.pattern);
  for (std::sregex_iterator it(source.begin(), source.end(), pattern), end; it != end; ++it) {
    const auto at = static_cast<size_t>(it->position());
    const bool infinity = std::string_view(row.pattern) == "-KW_INF";
    if (infinity || in_body(source, at))
      sites.push_back({&row, at, static_cast<size_t>(it->length()), it->format(row.replacement)});
  }
  return sites;
}

std::vector<Site> chosen(std::vector<Site> sites, int count, Random& random) {
  for (size_t i = sites.size(); i > 1; --i)
    std::swap(sites[i - 1], sites[static_cast<size_t>(random.integer(0, static_cast<int64_t>(i) - 1))]);
  if (sites.size() > static_cast<size_t>(count)) sites.resize(static_cast<size_t>(count));
  return sites;
}

int line_of(const std::string& text, size_t at) {
  return 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<long>(at), '\n'));
}

Work with_source(const Work& correct, const Site& site) {
  Work work = correct;
  std::string source = correct.candidate.source;
  work.site =
      fmt::format("line {}: '{}' to '{}'", line_of(source, site.at), source.substr(site.at, site.length), site.made);
  source.replace(site.at, site.length, site.made);
  if (site.made.find("kw_round_tf32") != std::string::npos) source = helpers + source;
  if (site.made.find("kw_apply_bf16") != std::string::npos) source = apply_helper + source;
  work.candidate.source = source;
  work.operation = site.row->name;
  return work;
}

// ---- the Plan ----

using PlanChange = bool (*)(ordered_json& plan, Random& random);  // false: does not apply

ordered_json* some_launch(ordered_json& plan, Random& random) {
  auto& steps = plan["steps"];
  if (steps.empty()) return nullptr;
  auto& step = steps[static_cast<size_t>(random.integer(0, static_cast<int64_t>(steps.size()) - 1))];
  return step.contains("kernel") ? &step : nullptr;
}

bool change_groups(ordered_json& plan, Random& random, int64_t by) {
  ordered_json* launch = some_launch(plan, random);
  if (!launch || !(*launch)["groups"][0].is_number()) return false;
  const int64_t groups = (*launch)["groups"][0];
  if (groups + by < 1) return false;
  (*launch)["groups"][0] = groups + by;
  return true;
}
bool fewer_groups(ordered_json& plan, Random& random) { return change_groups(plan, random, -1); }
bool more_groups(ordered_json& plan, Random& random) { return change_groups(plan, random, 1); }

bool swap_arguments(ordered_json& plan, Random& random) {
  ordered_json* launch = some_launch(plan, random);
  if (!launch) return false;
  auto& args = (*launch)["args"];
  std::vector<size_t> buffers;
  for (size_t i = 0; i < args.size(); ++i)
    if (args[i].is_string()) buffers.push_back(i);
  for (size_t i = 0; i + 1 < buffers.size(); ++i) {
    const auto& a = plan["buffers"][args[buffers[i]].get<std::string>()];
    const auto& b = plan["buffers"][args[buffers[i + 1]].get<std::string>()];
    if (a["role"] != b["role"] || a.value("shape", ordered_json()) != b.value("shape", ordered_json())) continue;
    std::swap(args[buffers[i]], args[buffers[i + 1]]);
    return true;
  }
  return false;
}

bool drop_step(ordered_json& plan, Random& random) {
  auto& steps = plan["steps"];
  if (steps.size() < 2) return false;
  steps.erase(static_cast<size_t>(random.integer(0, static_cast<int64_t>(steps.size()) - 1)));
  return true;
}

bool swap_steps(ordered_json& plan, Random&) {
  auto& steps = plan["steps"];
  if (steps.size() < 2) return false;
  std::swap(steps[0], steps[steps.size() - 1]);
  return true;
}

bool drop_prepare(ordered_json& plan, Random&) {
  if (plan["prepare"].empty()) return false;
  plan["prepare"].erase(plan["prepare"].size() - 1);
  return true;
}

struct PlanRow {
  const char* name;
  PlanChange change;
};
constexpr PlanRow plan_rows[] = {{"last group is not launched", fewer_groups}, {"one group too many", more_groups},
                                 {"arguments swapped", swap_arguments},        {"step left out", drop_step},
                                 {"steps in the wrong order", swap_steps},     {"prepare left out", drop_prepare}};

}  // namespace

std::vector<std::string> operator_names() {
  std::vector<std::string> names;
  for (const TextRow& row : text_rows) names.emplace_back(row.name);
  for (const PlanRow& row : plan_rows) names.emplace_back(row.name);
  return names;
}

std::vector<Work> mutants_of(const Work& correct, int sites, uint64_t seed) {
  std::vector<Work> mutants;
  std::set<std::string> seen = {correct.candidate.key()};
  const auto keep = [&](Work work) {
    if (seen.insert(work.candidate.key()).second) mutants.push_back(std::move(work));
  };
  Random random(seed);
  for (const TextRow& row : text_rows)
    for (const Site& site : chosen(sites_of(row, correct.candidate.source), sites, random))
      keep(with_source(correct, site));
  for (const PlanRow& row : plan_rows) {
    Work work = correct;
    ordered_json plan = ordered_json::parse(correct.candidate.plan_json);
    if (!row.change(plan, random)) continue;
    work.candidate.plan_json = plan.dump();
    work.operation = row.name;
    work.site = "the Plan";
    keep(std::move(work));
  }
  return mutants;
}

}  // namespace kw::redteam
