#include "judge/explain.h"

#include <nlohmann/json.hpp>
#include <set>

#include "judge/gates.h"

namespace kw::judge {

namespace {

using Json = nlohmann::json;

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::string line(const std::string& text) { return "  - " + text + "\n"; }

std::string verdict_line(const Json& c) {
  std::string text = "The candidate " + c.at("candidate").get<std::string>().substr(0, 12) + " of '" +
                     c.at("problem").get<std::string>() + "' (" + c.at("mode").get<std::string>() + " mode) is " +
                     c.at("verdict").get<std::string>();
  if (c.at("verdict") != "verified")
    text += " by the gate '" + c.at("gate").get<std::string>() + "': " + c.at("reason").get<std::string>();
  return text + ".\n";
}

std::string passed_gates(const Json& c) {
  std::string text;
  for (const Json& gate : c.at("gates"))
    if (gate.at("outcome") == "verified")
      text += line(gate.at("gate").get<std::string>() + ": " + gate.at("text").get<std::string>());
  return text.empty() ? line("nothing") : text;
}

std::string suite_name(const Json& suite) {
  return "'" + suite.at("suite").get<std::string>() + "' (parameters " + suite.at("params").get<std::string>() + ")";
}

std::string shown_suites(const Json& c) {
  int64_t cases = 0, exact = 0, elements = 0;
  std::set<std::string> names;
  for (const Json& suite : c.at("suites")) {
    if (!suite.at("shown").get<bool>()) continue;
    ++cases;
    exact += suite.at("exact").get<bool>();
    elements += suite.at("elements").get<int64_t>();
    names.insert(suite.at("suite").get<std::string>());
  }
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return line(std::to_string(elements) + " elements in " + std::to_string(cases) + " cases (" + list + "), " +
              std::to_string(exact) + " of them bit for bit");
}

std::string accuracy_line(const Json& c) {
  const Json& a = c.at("accuracy");
  const bool measured = !(a.at("framework_rms").is_number() && a.at("framework_rms").get<double>() == 0);
  return line("accuracy class '" + a.at("class").get<std::string>() + "': error " + text_of(a.at("rms")) +
              (measured ? " against PyTorch's " + text_of(a.at("framework_rms")) : "; PyTorch's was not measured") +
              " (rms, relative); the worst element took " + text_of(a.at("worst_bound_share")) + " of its bound");
}

std::string missing_suites(const Json& c) {
  std::string text;
  int64_t undecided = 0, overflowed = 0;
  for (const Json& suite : c.at("suites")) {
    undecided += suite.at("undecided").get<int64_t>();
    overflowed += suite.at("overflowed").get<int64_t>();
    const std::string why = suite.at("text");
    if (!suite.at("shown").get<bool>()) text += line(suite_name(suite) + ": " + why);
  }
  if (undecided) text += line(std::to_string(undecided) + " elements whose error bound decides nothing");
  if (overflowed) text += line(std::to_string(overflowed) + " elements where float arithmetic may overflow");
  return text;
}

std::string missing_gates(const Json& c) {
  std::set<std::string> ran;
  for (const Json& gate : c.at("gates")) ran.insert(gate.at("gate").get<std::string>());
  std::string list;
  for (const GateRow& row : gate_table())
    if (!ran.count(std::string(row.name))) list += (list.empty() ? "" : ", ") + std::string(row.name);
  return list.empty() ? "" : line("gates that did not run: " + list);
}

std::string assumptions(const Json& c) {
  std::string text;
  for (const Json& assumed : c.at("assumes"))
    text += line("inputs that are not " + text_of(assumed) + ": the Plan assumes them away");
  return text;
}

std::string adequacy_line(const Json& c) {
  const Json& a = c.at("adequacy");
  if (!a.at("measured").get<bool>()) return line("whether planted faults would have been noticed");
  std::string survivors;
  for (const Json& mutant : a.at("mutants"))
    if (mutant.at("applies").get<bool>() && mutant.at("killed_by").get<std::string>().empty())
      survivors += (survivors.empty() ? "" : ", ") + mutant.at("mutant").get<std::string>();
  if (survivors.empty()) return "";
  return line(std::string(a.at("degenerate").get<bool>() ? "the problem is degenerate: " : "") +
              "on its own inputs these wrong outputs would pass: " + survivors);
}

std::string witness_text(const Json& c) {
  const Json& w = c.at("witness");
  if (w.is_null()) return "";
  return "Witness: suite '" + w.at("suite").get<std::string>() + "', seed " + w.at("seed").get<std::string>() +
         ", output " + w.at("output").dump() + " at " + w.at("index").dump() +
         " (first wrong: " + w.value("first_index", Json::array()).dump() + "): expected " + text_of(w.at("expected")) +
         ", got " + text_of(w.at("got")) + ", allowed " + text_of(w.at("bound")) + ".\n";
}

std::string explained(const Json& c) {
  return verdict_line(c) + witness_text(c) + "\nShown:\n" + passed_gates(c) + shown_suites(c) + accuracy_line(c) +
         "\nNot shown:\n" + missing_gates(c) + missing_suites(c) + assumptions(c) + adequacy_line(c) +
         line("shapes other than the given ones (the Plan refuses them), other devices and other compilers") +
         line("absence of races beyond the runs that were made: other threads, other orders of groups") +
         "\nThe rule: " + c.at("rule").get<std::string>() + ".\n";
}

}  // namespace

Result<std::string> explain_certificate(std::string_view json) {
  const Failure broken{"certificate.format", "this is no certificate of Kernelwright",
                       "`kernelwright verify ... --json` prints one; a package holds certificate.json"};
  try {
    const Json c = Json::parse(json);
    if (c.value("format", "") != "kernelwright-certificate/1") return broken;
    return explained(c);
  } catch (const Json::exception&) {
    return broken;
  }
}

}  // namespace kw::judge
