#include "module/export.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/file.h"
#include "base/process.h"
#include "module/json_cursor.h"
#include "module/pt2.h"

namespace kw::module {
namespace fs = std::filesystem;
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

/// The first of the program's folder and its parents that holds `wanted`; empty if none does.
fs::path find_above(const fs::path& wanted) {
  std::error_code ignored;
  fs::path folder = own_executable().parent_path();
  for (; !folder.empty(); folder = folder.parent_path()) {
    if (fs::exists(folder / wanted, ignored)) return folder;
    if (folder == folder.root_path()) break;
  }
  return {};
}

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of("\n\r ");
  if (end == text.npos) return {};
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == text.npos ? 0 : begin + 1, end - (begin == text.npos ? 0 : begin + 1) + 1);
}

std::string string_field(const Json& json, const char* key) {
  return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
}

/// What the child said, or how it ended.
Status read_reply(const ProcessReply& reply, const fs::path& python, double timeout_s) {
  if (reply.timed_out)
    return Failure{"export.timeout", fmt::format("exporting the module took longer than {:.0f} s", timeout_s),
                   "give it more --time, or export it yourself with torch.export.save and give the .pt2"};
  const auto json = parse_json(last_line(reply.out));
  const std::string type = json && json->is_object() ? string_field(*json, "type") : "";
  if (type == "export" && reply.exit_code == 0) return ok_status();
  if (type == "error")
    return Failure{string_field(*json, "id"), string_field(*json, "message"), string_field(*json, "hint")};
  if (interrupted() || reply.exit_code == 130) return Failure{"export.interrupted", "the export was interrupted", ""};
  if (reply.err.find("No module named") != reply.err.npos)
    return Failure{"export.python", fmt::format("`{}` cannot export: {}", python.string(), last_line(reply.err)),
                   "run `make setup`, or name a Python that has torch in KERNELWRIGHT_PYTHON"};
  if (reply.exit_code == 137)
    return Failure{"export.killed", "the export was killed, most likely for want of memory", "give it smaller inputs"};
  return Failure{"export.failed",
                 fmt::format("the export ended with code {}: {}", reply.exit_code, last_line(reply.err)),
                 "run `python -m kernelwright.export` on it to see all"};
}

/// `FILE.py:factory` without its factory.
fs::path file_of(const std::string& source) {
  const size_t colon = source.rfind(':');
  const bool factory = colon != source.npos && source.substr(0, colon).ends_with(".py");
  return factory ? source.substr(0, colon) : source;
}

/// Failures of our reader that torch may still mend: older schemas, and forms that its decomposition removes.
bool torch_may_read(const std::string& id) { return id == "pt2.schema" || id == "pt2.higher_order"; }

}  // namespace

Status check_source(const std::string& source) {
  const fs::path path = file_of(source), extension = path.extension();
  if (auto file = MappedFile::open(path); !file) return file.failure();
  if (extension == ".py") return ok_status();
  if (extension != ".pt2")
    return Failure{"export.kind", fmt::format("`{}` is neither a .py file nor a .pt2 archive", path.string()),
                   "give FILE.py, FILE.py:factory or model.pt2"};
  const auto loaded = load_pt2(path);
  return loaded || torch_may_read(loaded.failure().id) ? ok_status() : Status(loaded.failure());
}

fs::path find_python() {
  if (const std::string named = environment("KERNELWRIGHT_PYTHON"); !named.empty()) return named;
  const fs::path local = ".venv/bin/python", checkout = find_above(local);
  return checkout.empty() ? fs::path("python3") : checkout / local;
}

fs::path python_package_folder() {
  const fs::path checkout = find_above("python/kernelwright/export.py");
  return checkout.empty() ? fs::path() : checkout / "python";
}

Result<fs::path> run_export(const std::string& source, const fs::path& folder, const ExportOptions& options) {
  if (Status usable = check_source(source); !usable) return usable.failure();
  const fs::path python = options.python.empty() ? find_python() : options.python;
  std::vector<std::string> argv = {python.string(),
                                   "-m",
                                   "kernelwright.export",
                                   source,
                                   "--out",
                                   folder.string(),
                                   "--mode",
                                   options.mode,
                                   "--draws",
                                   std::to_string(options.draws),
                                   "--seed",
                                   std::to_string(options.seed)};
  if (options.meta) argv.emplace_back("--meta");
  ProcessOptions process;
  process.timeout_s = options.timeout_s;
  std::string search = python_package_folder().string();
  if (const std::string inherited = environment("PYTHONPATH"); !inherited.empty())
    search += (search.empty() ? "" : ":") + inherited;
  if (!search.empty()) process.env.emplace_back("PYTHONPATH", search);
  const auto reply = run_process(argv, process);
  if (!reply)
    return Failure{"export.python", fmt::format("cannot start `{}`", python.string()),
                   "run `make setup`, or name a Python that has torch in KERNELWRIGHT_PYTHON"};
  if (auto done = read_reply(*reply, python, options.timeout_s); !done) return done.failure();
  return folder;
}

}  // namespace kw::module
