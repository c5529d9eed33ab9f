#include "package/readme.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace kw::package {
namespace {

using nlohmann::json;

std::string slots_text(const json& slots) {
  std::string text;
  for (const json& slot : slots)
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", slot["dtype"].get<std::string>(), slot["shape"].dump());
  return text.empty() ? "none" : text;
}

std::string timing_text(const json& result) {
  const json timing = result.value("timing", json(nullptr));
  if (!timing.is_object()) return "Not timed.";
  return fmt::format("Against {}, the fastest of the baselines: {:.2f}x (95% interval {:.2f} to {:.2f}), {}.",
                     timing.value("baseline", "?"), timing.value("median", 0.0), timing.value("lo", 0.0),
                     timing.value("hi", 0.0), timing.value("verdict", "?"));
}

std::string isas_text(const json& variants) {
  std::string text;
  for (const json& variant : variants) text += (text.empty() ? "" : ", ") + variant["isa"].get<std::string>();
  return text.empty() ? "none" : text;
}

}  // namespace

std::string readme_text(const std::string& manifest_json) {
  const json m = json::parse(manifest_json);
  const bool verified = m["verdict"] == "verified";
  return fmt::format(
      "# {0}\n\nMade by Kernelwright. Verdict: {1}. {2}\n\n```python\nimport kernelwright\nfast = "
      "kernelwright.load(\"{0}.kw\")\n"
      "y = fast(...)  # the original's signature, outputs and state_dict(); no autograd\n```\n\n"
      "- inputs: {3}\n- outputs: {4}\n- mode: {5}\n- instruction sets: {6}\n- {7}\n\n"
      "`certificate.json` says what was tested; `kernels/` holds the sources. From C, without Python:\n\n```sh\n"
      "unzip {0}.kw kernelwright.h run_package.c\n"
      "cc run_package.c -I. -L\"$LIB\" -Wl,-rpath,\"$LIB\" -lkernelwright -o run_package  # LIB: where libkernelwright "
      "is\n"
      "./run_package {0}.kw\n```\n",
      m["name"].get<std::string>(), m["verdict"].get<std::string>(),
      verified ? "Other shapes, dtypes and layouts run the original."
               : "The original module runs, for the kernels do not win.",
      slots_text(m["inputs"]), slots_text(m["outputs"]), m["mode"].get<std::string>(), isas_text(m["variants"]),
      timing_text(m["result"]));
}

}  // namespace kw::package
