#include "emulator/lint/lint.h"

#include <algorithm>
#include <tuple>

namespace kw::emulator {

void LintContext::report(size_t token, std::string message) {
  const Token& at = lexed.tokens[token];
  findings.push_back({std::string(rule), lexed.files[at.file], at.line, std::move(message)});
}

std::span<const LintRule> lint_rules(Dialect dialect) {
  if (dialect == Dialect::cuda) return cuda_lint_rules();
  static constexpr LintRule rules[] = {
      {"word", "double, virtual, exceptions, goto, new and delete, thread_local, typeid, asm, long long", check_words},
      {"coverage", "textures, samplers, ray tracing, tensors, render functions: outside the emulator", check_coverage},
      {"function-pointer", "pointers to functions", check_function_pointers},
      {"program-scope", "variables at program scope that are not constant", check_program_scope},
      {"static-local", "static variables in functions", check_static_locals},
      {"variadic", "C's variable arguments", check_variadic},
      {"group-initialiser", "threadgroup variables with an initialiser", check_group_initialisers},
      {"group-place", "threadgroup variables outside of a kernel's body", check_group_place},
      {"buffer-index", "buffer indices above 30, or given twice", check_buffer_indices},
      {"thread-limit", "more than 1024 threads in a threadgroup", check_thread_limit},
      {"kernel-result", "kernels that return something", check_kernel_result},
      {"kernel-parameter", "kernel parameters without attribute, address space or reference", check_kernel_parameters},
      {"builtin-type", "built-in values of a type that Metal does not give them", check_builtin_types},
      {"missing-space", "pointers and references without address space", check_missing_spaces},
      {"mixed-space", "a pointer of one address space given where another is declared", check_mixed_spaces},
      {"recursion", "functions that call themselves", check_recursion},
  };
  return rules;
}

std::vector<Finding> lint(const Lexed& lexed, const std::vector<Declaration>& declarations,
                          const std::vector<Kernel>& kernels) {
  LintContext context(lexed, declarations, kernels);
  for (const LintRule& rule : lint_rules(lexed.dialect)) {
    context.rule = rule.name;
    rule.check(context);
  }
  auto& all = context.findings;
  const auto key = [](const Finding& f) { return std::tie(f.file, f.line, f.rule); };
  std::stable_sort(all.begin(), all.end(), [&](const Finding& a, const Finding& b) { return key(a) < key(b); });
  all.erase(std::unique(all.begin(), all.end(), [&](const Finding& a, const Finding& b) { return key(a) == key(b); }),
            all.end());
  return std::move(all);
}

}  // namespace kw::emulator
