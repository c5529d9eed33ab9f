#include "emulator/runtime/instrument.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>
#include <vector>

namespace kw::emulator {
namespace {

struct Operation {
  std::string_view name;
  uint32_t flops;
};
/// Instructions of LLVM and the names that calls of mathematics begin with.
constexpr Operation operations[] = {
    {"fadd", 1}, {"fsub", 1}, {"fmul", 1}, {"fdiv", 1}, {"frem", 1}, {"fneg", 1},
};
constexpr Operation calls[] = {
    {"@llvm.fma.", 2}, {"@llvm.fmuladd.", 2}, {"@llvm.sqrt.", 1}, {"@llvm.maxnum.", 1}, {"@llvm.minnum.", 1},
    {"@llvm.exp.", 1}, {"@llvm.exp2.", 1},    {"@llvm.log.", 1},  {"@llvm.log2.", 1},   {"@llvm.sin.", 1},
    {"@llvm.cos.", 1}, {"@llvm.pow.", 1},     {"@expf(", 1},      {"@exp2f(", 1},       {"@logf(", 1},
    {"@log2f(", 1},    {"@sinf(", 1},         {"@cosf(", 1},      {"@tanhf(", 1},       {"@powf(", 1},
    {"@erff(", 1},     {"@sqrtf(", 1},
};

bool starts(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

/// N of the first "<N x" in an instruction, else 1.
uint32_t lanes(std::string_view line) {
  const size_t at = line.find('<');
  uint32_t count = 1;
  if (at == std::string_view::npos) return count;
  const char* const begin = line.data() + at + 1;
  const auto [end, error] = std::from_chars(begin, line.data() + line.size(), count);
  return error == std::errc() && starts(std::string_view(end, line.data() + line.size() - end), " x ") ? count : 1;
}

uint32_t flops_of(std::string_view line) {
  const size_t equals = line.find(" = ");
  if (equals == std::string_view::npos) return 0;
  const std::string_view rest = line.substr(equals + 3);
  for (const Operation& operation : operations)
    if (starts(rest, operation.name) && rest.size() > operation.name.size() && rest[operation.name.size()] == ' ')
      return operation.flops * lanes(rest);
  if (rest.find("call ") == std::string_view::npos) return 0;
  for (const Operation& call : calls)
    if (rest.find(call.name) != std::string_view::npos) return call.flops * lanes(rest);
  return 0;
}

bool is_instruction(std::string_view line) { return starts(line, "  ") && !starts(line, "  call void @llvm.dbg"); }
bool is_phi(std::string_view line) { return line.find(" = phi ") != std::string_view::npos; }
bool is_label(std::string_view line) {
  return !line.empty() && line[0] != ' ' && line[0] != '}' && line[0] != ';' &&
         line.substr(0, line.find(';')).find(':') != std::string_view::npos;
}

class Instrumenter {
 public:
  void line(std::string_view text) {
    if (starts(text, "define ")) {
      // Constructors of the module run before there are threads; the call does nothing then.
      inside_ = true;
      is_entry_ = first_ = text.find("6kw_emu6Launch") != std::string_view::npos;
      out_ += fmt::format("{}\n", text);
      debug_ = text.find("!dbg ") != std::string_view::npos;
    } else if (inside_ && text == "}") {
      flush();
      inside_ = false;
      out_ += "}\n";
    } else if (inside_ && is_label(text)) {
      flush();
      out_ += fmt::format("{}\n", text);
    } else if (inside_) {
      block_.push_back(text);
    } else {
      out_ += fmt::format("{}\n", text);
    }
  }
  std::string take() {
    if (out_.find("declare void @kw_emu_block(") == std::string::npos)
      out_ += "declare void @kw_emu_block(i32, i32, i32)\n";
    return std::move(out_);
  }

 private:
  /// A !dbg attachment of the block, which calls in functions with debug information must carry.
  std::string location() const {
    for (const std::string_view text : block_)
      if (const size_t at = text.rfind(", !dbg !"); at != std::string_view::npos) {
        size_t end = at + 8;
        while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
        return std::string(text.substr(at, end - at));
      }
    return "";
  }
  /// What an entry does before and after its loop over threads belongs to none of them.
  bool outside_of_threads() {
    const bool first = std::exchange(first_, false);
    return is_entry_ && (first || (!block_.empty() && starts(block_.back(), "  ret ")));
  }
  void flush() {
    uint32_t flops = 0, instructions = 0;
    for (const std::string_view text : block_)
      if (is_instruction(text)) {
        flops += flops_of(text);
        ++instructions;
      }
    bool placed = instructions == 0 || outside_of_threads();
    for (const std::string_view text : block_) {
      if (!placed && is_instruction(text) && !is_phi(text) && text.find("landingpad") == std::string_view::npos) {
        const std::string where = location();
        if (!debug_ || !where.empty())
          out_ += fmt::format("  call void @kw_emu_block(i32 {}, i32 {}, i32 {}){}\n", number_++, flops, instructions,
                              where);
        placed = true;
      }
      out_ += fmt::format("{}\n", text);
    }
    block_.clear();
  }

  std::string out_;
  std::vector<std::string_view> block_;
  uint32_t number_ = 0;
  bool inside_ = false, debug_ = false, is_entry_ = false, first_ = false;
};

}  // namespace

std::string instrument_blocks(std::string_view text) {
  Instrumenter instrumenter;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    instrumenter.line(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return instrumenter.take();
}

}  // namespace kw::emulator
