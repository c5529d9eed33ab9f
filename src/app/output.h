#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "app/options.h"
#include "base/result.h"

namespace kw::app {

/// Results on stdout (text, or one JSON object a line); everything else on stderr.
class Output {
 public:
  explicit Output(const CommonOptions& common);
  bool json() const { return json_; }
  /// In JSON mode only.
  void object(const nlohmann::json& value) const;
  /// In text mode only.
  void text(std::string_view line) const;
  /// Replaces the progress line on a terminal; elsewhere prints it when `milestone`.
  void progress(std::string_view line, bool milestone = false);
  void clear_progress();
  std::string bold(std::string_view text) const;
  std::string green(std::string_view text) const;
  std::string red(std::string_view text) const;

 private:
  std::string styled(const char* code, std::string_view text) const;
  bool json_, show_progress_, terminal_, color_;
  bool line_open_ = false;
};

/// "error: ..." and "hint: ..." on stderr; in JSON mode an {"type":"error"} object on stdout too.
void report_failure(const CommonOptions& common, const Failure& failure);

/// Columns padded to their widest cell; the first row is the header.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

}  // namespace kw::app
