#include <fmt/format.h>

#include <algorithm>

#include "emulator/front/edits.h"
#include "emulator/front/registration.h"
#include "emulator/front/rewrite.h"
#include "emulator/front/slots.h"

// CUDA C++ is C++ already: what is left to do is its words for where things are, and the group's memory.
namespace kw::emulator {
namespace {

struct WordRow {
  std::string_view word, text;
};
// Values that a thread finds, by name.
constexpr WordRow builtins[] = {{"threadIdx", "kw_cuda::thread_index()"},
                                {"blockIdx", "kw_cuda::block_index()"},
                                {"blockDim", "kw_cuda::block_size()"},
                                {"gridDim", "kw_cuda::grid_size()"}};
constexpr std::string_view dropped[] = {"__device__", "__host__", "__global__", "__grid_constant__", "__managed__"};
constexpr std::string_view dropped_calls[] = {"__launch_bounds__", "__cluster_dims__", "__maxnreg__"};

template <class Words>
bool is_one_of(const Words& words, std::string_view word) {
  return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

class CudaRewriter {
 public:
  CudaRewriter(const Lexed& lexed, const std::vector<Declaration>& declarations, const std::vector<Kernel>& kernels)
      : lexed_(lexed), declarations_(declarations), kernels_(kernels), edits_(lexed) {}

  Result<Rewritten> run(const RewriteOptions& options) {
    for (size_t i = 0; i + 1 < lexed_.tokens.size(); ++i) i = take_token(i);
    for (const Declaration& declaration : declarations_)
      if (declaration.kind == DeclarationKind::instantiation && declaration.is_kernel)
        edits_.erase(declaration.first, declaration.last);  // the registration asks for it by its name
    Rewritten made;
    made.text = edits_.all() + registration(lexed_, kernels_, {}, {}, options.kernels);
    for (const Kernel& kernel : kernels_) made.reflection.kernels.push_back(kernel.description);
    return made;
  }

 private:
  const Token& token(size_t at) const { return lexed_.tokens[at]; }
  std::string_view text(size_t at) const { return lexed_.tokens[at].text; }
  size_t partner(size_t at) const { return lexed_.partner[at]; }

  bool is_member(size_t at) const {
    return at > 0 && (text(at - 1) == "." || text(at - 1) == "->" || text(at - 1) == "::");
  }

  /// The last token that was dealt with.
  size_t take_token(size_t at) {
    if (token(at).kind == TokenKind::directive) {
      if (text(at).find("pragma") != std::string_view::npos) edits_.erase(at);
    } else if (!token(at).is_name()) {
      return at;
    } else if (is_one_of(dropped, text(at))) {
      edits_.erase(at);
    } else if (is_one_of(dropped_calls, text(at)) && text(at + 1) == "(") {
      edits_.erase(at, partner(at + 1) + 1);
      return partner(at + 1);
    } else if (text(at) == "__constant__") {
      take_constant(at);
    } else if (text(at) == "__shared__") {
      return take_shared(at);
    } else if (!is_member(at)) {
      take_name(at);
    }
    return at;
  }

  void take_name(size_t at) {
    for (const WordRow& row : builtins)
      if (text(at) == row.word) return edits_.replace(at, row.text);
    for (const DynamicName& name : dynamic_)  // one that was declared at file scope
      if (text(at) == name.name) return edits_.replace(at, name.text);
  }

  void take_constant(size_t at) {
    bool is_const = false;
    for (size_t i = at; i > 0 && token(i - 1).is_name(); --i) is_const = is_const || is_const_word(i - 1);
    for (size_t i = at + 1; token(i).is_name(); ++i) is_const = is_const || is_const_word(i);
    if (is_const)
      edits_.erase(at);
    else
      edits_.replace(at, "const");
  }
  bool is_const_word(size_t at) const { return text(at) == "const" || text(at) == "constexpr"; }

  // ---- __shared__

  /// The first token of the declaration that the word at `at` belongs to.
  size_t statement_start(size_t at) const {
    while (at > 0) {
      const std::string_view before = text(at - 1);
      if (before == ";" || before == "{" || before == "}" || before == ":" ||
          token(at - 1).kind == TokenKind::directive)
        break;
      at = before == ")" || before == "]" ? partner(at - 1) : at - 1;
    }
    return at;
  }

  size_t statement_end(size_t at) const {
    for (; text(at) != ";" && at + 1 < lexed_.tokens.size(); ++at)
      if (partner(at) > at) at = partner(at);
    return at;
  }

  size_t take_shared(size_t at) {
    const size_t start = statement_start(at), end = statement_end(at);
    bool is_extern = false;
    for (size_t i = start; i < end; ++i) {
      if (text(i) == "extern") is_extern = true;
      if (text(i) == "__shared__" || text(i) == "extern" || text(i) == "static" || text(i) == "__device__")
        edits_.erase(i);
      else if (!is_extern)
        take_name(i);
    }
    if (is_extern)
      take_dynamic(start, end);
    else
      take_static(at, start, end);
    return end;
  }

  /// The names that [start, end) declares, each with its token.
  std::vector<size_t> declared_names(size_t start, size_t end) const {
    std::vector<size_t> names;
    for (size_t i = start; i < end; ++i) {
      if (text(i) == "<" && token(i - 1).is_name())
        i = std::max(i + 1, behind_angles(lexed_, i, end)) - 1;
      else if (partner(i) > i && text(i) != "[")
        i = partner(i);
      if (!token(i).is_name() || (text(i + 1) != "[" && text(i + 1) != "," && i + 1 != end)) continue;
      names.push_back(i);
      while (text(i + 1) == "[") i = partner(i + 1);
    }
    return names;
  }

  void take_static(size_t at, size_t start, size_t end) {
    const std::string record = fmt::format("kw_group_{}", at);
    edits_.before(start, fmt::format("struct {} {{ ", record));
    std::string slots = " };";
    for (size_t name : declared_names(start, end)) slots += slot_text(record, name, text(name), token(name).line);
    edits_.after(end, slots + fmt::format(" static_assert(sizeof({}) <= 49152, \"__shared__ variables take more than "
                                          "49152 bytes; more than that is dynamic: extern __shared__\");",
                                          record));
  }

  struct DynamicName {
    std::string name, text;
  };

  bool in_function(size_t at) const {
    return std::any_of(declarations_.begin(), declarations_.end(), [&](const Declaration& d) {
      return d.kind == DeclarationKind::function && d.body && d.body < at && at < partner(d.body);
    });
  }

  /// `extern __shared__ T x[];`: x is the beginning of what the launch gives.
  void take_dynamic(size_t start, size_t end) {
    const auto names = declared_names(start, end);
    if (names.empty()) return;
    const size_t name = names.front();
    for (size_t i = start; i < name; ++i)
      if ((text(i) == "alignas" || text(i) == "__attribute__") && text(i + 1) == "(") {
        edits_.erase(i, partner(i + 1) + 1);
        i = partner(i + 1);
      }
    const std::string place = fmt::format("*reinterpret_cast<{} (*){}>(kw_cuda::dynamic_memory())",
                                          edits_.line(start, name), edits_.line(name + 1, end));
    if (!in_function(name)) {
      dynamic_.push_back({std::string(text(name)), "(" + place + ")"});
      return edits_.erase(start, end);
    }
    edits_.before(name, "(&");
    edits_.after(name, ")");
    edits_.after(end - 1, " = " + place);
  }

  const Lexed& lexed_;
  const std::vector<Declaration>& declarations_;
  const std::vector<Kernel>& kernels_;
  Edits edits_;
  std::vector<DynamicName> dynamic_;
};

}  // namespace

Result<Rewritten> rewrite_cuda(const Lexed& lexed, const std::vector<Declaration>& declarations,
                               const std::vector<Kernel>& kernels, const RewriteOptions& options) {
  return CudaRewriter(lexed, declarations, kernels).run(options);
}

}  // namespace kw::emulator
