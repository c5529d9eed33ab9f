#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "emulator/front/reflect.h"

namespace kw::emulator {

/// Something that the dialect's compiler rejects and a C++ compiler takes, or that the emulator does not cover.
struct Finding {
  std::string rule;
  std::string file;
  uint32_t line = 0;
  std::string message;
};

/// What a rule looks at, and where it says what it found.
class LintContext {
 public:
  LintContext(const Lexed& tokens, const std::vector<Declaration>& outlined, const std::vector<Kernel>& found)
      : lexed(tokens), declarations(outlined), kernels(found) {}
  void report(size_t token, std::string message);
  std::string_view text(size_t at) const { return lexed.tokens[at].text; }

  const Lexed& lexed;
  const std::vector<Declaration>& declarations;
  const std::vector<Kernel>& kernels;
  std::string_view rule;
  std::vector<Finding> findings;
};

struct LintRule {
  std::string_view name;
  std::string_view what;  // one line for docs/*-coverage.md
  void (*check)(LintContext&);
};

std::span<const LintRule> lint_rules(Dialect dialect = Dialect::metal);

/// All findings in the order of the source's lines, one for each rule and line.
std::vector<Finding> lint(const Lexed& lexed, const std::vector<Declaration>& declarations,
                          const std::vector<Kernel>& kernels);

// The rules for CUDA: lint_cuda.cpp.
std::span<const LintRule> cuda_lint_rules();

// The rules for Metal, by what they look at: lint_words.cpp, lint_kernels.cpp, lint_spaces.cpp.
void check_words(LintContext& context);
void check_coverage(LintContext& context);
void check_function_pointers(LintContext& context);
void check_program_scope(LintContext& context);
void check_static_locals(LintContext& context);
void check_variadic(LintContext& context);
void check_group_initialisers(LintContext& context);
void check_group_place(LintContext& context);
void check_buffer_indices(LintContext& context);
void check_thread_limit(LintContext& context);
void check_kernel_result(LintContext& context);
void check_kernel_parameters(LintContext& context);
void check_builtin_types(LintContext& context);
void check_missing_spaces(LintContext& context);
void check_mixed_spaces(LintContext& context);
void check_recursion(LintContext& context);

}  // namespace kw::emulator
