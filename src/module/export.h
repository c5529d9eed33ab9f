#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/result.h"

namespace kw::module {

struct ExportOptions {
  std::string mode = "auto";     // train, eval or auto (KernelBench-style files: train; others: eval)
  std::filesystem::path python;  // interpreter with torch; empty: find_python()
  bool meta = false;             // parameters without data: shapes only
  int draws = 3;                 // how many draws of the inputs to keep
  uint64_t seed = 0;             // of weights and inputs
  double timeout_s = 600;
};

/// $KERNELWRIGHT_PYTHON, else .venv/bin/python of the checkout that this program was built in, else python3.
std::filesystem::path find_python();
/// The folder to put on PYTHONPATH so that `python -m kernelwright.export` works; empty when it is installed.
std::filesystem::path python_package_folder();

/// What can be told of `source` before Python starts: that its file is there, may be read and is of a known kind, and
/// that a .pt2 is neither damaged nor hostile, so that no other reader ever opens such a one.
/// fails: file.missing, file.unreadable, export.kind, and pt2.* as load_pt2
Status check_source(const std::string& source);

/// Exports `source` (FILE.py, FILE.py:factory or model.pt2) through Python into `folder`, which then holds model.pt2,
/// problem.json and draws/. Returns `folder`.
/// fails: as check_source; export.* and pt2.* as the Python side reports them, export.python (no interpreter, or no
/// torch in it),
///        export.timeout, export.interrupted
Result<std::filesystem::path> run_export(const std::string& source, const std::filesystem::path& folder,
                                         const ExportOptions& options = {});

}  // namespace kw::module
