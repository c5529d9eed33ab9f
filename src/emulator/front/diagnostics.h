#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace kw::emulator {

struct Diagnostic {
  std::string file;
  uint32_t line = 0;
  std::string message;
};

/// clang's words as errors in the user's files: an error inside a header of ours is reported at the user's line that
/// led there. At most `limit`.
std::vector<Diagnostic> read_diagnostics(std::string_view words, std::string_view own_folder, size_t limit);

/// "a.metal:3: use of undeclared identifier 'x'\n    x[0] = 1;", one after the other; `source` is the text of the unit
/// called `unit_name`.
std::string show_diagnostics(const std::vector<Diagnostic>& diagnostics, std::string_view source,
                             std::string_view unit_name);

}  // namespace kw::emulator
