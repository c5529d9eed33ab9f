#include <fmt/format.h>

#include <algorithm>

#include "emulator/lint/lint.h"

// What the emulator cannot run of CUDA, or nvcc refuses: each said with the user's line.
namespace kw::emulator {
namespace {

struct WordRow {
  std::string_view word;
  std::string_view why;
};
constexpr WordRow words[] = {
    {"asm", "inline PTX is outside what the emulator runs; write it in CUDA C++, or judge this kernel on a GPU"},
    {"__asm__", "inline PTX is outside what the emulator runs; write it in CUDA C++, or judge this kernel on a GPU"},
    {"__asm", "inline PTX is outside what the emulator runs; write it in CUDA C++, or judge this kernel on a GPU"},
    {"throw", "device code has no exceptions"},
    {"try", "device code has no exceptions"},
    {"catch", "device code has no exceptions"},
    {"typeid", "device code has no typeid"},
    {"dynamic_cast", "device code has no dynamic_cast"},
    {"thread_local", "device code has no thread_local"},
    {"new", "the device's heap (new, malloc) is outside what the emulator runs; use a scratch buffer"},
    {"malloc", "the device's heap (new, malloc) is outside what the emulator runs; use a scratch buffer"},
    {"clock", "a kernel that reads clocks gives other results in every run; the emulator has none"},
    {"clock64", "a kernel that reads clocks gives other results in every run; the emulator has none"},
    {"texture", "textures are outside what the emulator runs"},
    {"surface", "surfaces are outside what the emulator runs"},
    {"cudaTextureObject_t", "textures are outside what the emulator runs"},
    {"cudaSurfaceObject_t", "surfaces are outside what the emulator runs"},
    {"this_grid", "a barrier of the whole grid is outside what a Plan can launch; split the kernel"},
    {"grid_group", "a barrier of the whole grid is outside what a Plan can launch; split the kernel"},
    {"this_cluster", "clusters of blocks are outside what the emulator runs"},
    {"cluster_group", "clusters of blocks are outside what the emulator runs"},
    {"__cluster_dims__", "clusters of blocks are outside what the emulator runs"},
    {"CUtensorMap", "tensor maps are outside what the emulator runs"},
    {"memcpy_async", "asynchronous copies are outside what the emulator runs"},
    {"__pipeline_memcpy_async", "asynchronous copies are outside what the emulator runs"},
    {"__managed__", "managed memory belongs to a host program; take the data as a buffer"},
};
constexpr WordRow beginnings[] = {
    {"tex1D", "textures are outside what the emulator runs"},
    {"tex2D", "textures are outside what the emulator runs"},
    {"tex3D", "textures are outside what the emulator runs"},
    {"surf1D", "surfaces are outside what the emulator runs"},
    {"surf2D", "surfaces are outside what the emulator runs"},
};

bool names_a_member(const LintContext& c, size_t at) {
  return at > 0 && (c.text(at - 1) == "." || c.text(at - 1) == "->");
}

void check_words_of_cuda(LintContext& c) {
  for (size_t i = 0; i + 1 < c.lexed.tokens.size(); ++i) {
    if (!c.lexed.tokens[i].is_name() || names_a_member(c, i)) continue;
    // A variable may be called clock or texture.
    const bool weak = c.text(i) == "clock" || c.text(i) == "texture" || c.text(i) == "surface" ||
                      c.text(i) == "malloc" || c.text(i) == "clock64";
    const bool used = c.text(i + 1) == "(" || c.text(i + 1) == "<";
    for (const WordRow& row : words)
      if (c.text(i) == row.word && (!weak || used)) c.report(i, std::string(row.why));
    for (const WordRow& row : beginnings)
      if (c.text(i).starts_with(row.word) && used) c.report(i, std::string(row.why));
    if (c.text(i) == "delete" && i > 0 && c.text(i - 1) != "=")
      c.report(i, "the device's heap (new, malloc) is outside what the emulator runs; use a scratch buffer");
  }
}

void check_launches(LintContext& c) {
  for (size_t i = 0; i + 1 < c.lexed.tokens.size(); ++i)
    if (c.text(i) == "<<" && c.text(i + 1) == "<" && c.lexed.tokens[i + 1].gap.empty())
      c.report(i, "kernels are launched by the Plan, not by <<<...>>> in the source");
}

bool says(const LintContext& c, const Declaration& d, std::initializer_list<std::string_view> wanted) {
  const size_t end = d.params ? d.params : d.initialiser ? d.initialiser : d.last;
  for (size_t i = d.first; i < end; ++i)
    if (std::find(wanted.begin(), wanted.end(), c.text(i)) != wanted.end()) return true;
  return false;
}

void check_host_code(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (d.kind != DeclarationKind::function || d.in_record || !d.body || d.body + 1 == c.lexed.partner[d.body])
      continue;
    if (says(c, d, {"__device__", "__global__", "constexpr", "consteval"})) continue;
    c.report(d.name, fmt::format("'{}' is a function of the host: say __device__, or leave it out (the Plan is all the "
                                 "host side there is)",
                                 c.text(d.name)));
  }
  for (size_t i = 0; i + 1 < c.lexed.tokens.size(); ++i) {
    const std::string_view word = c.text(i);
    if (c.text(i + 1) == "(" && word.size() > 4 && word.starts_with("cuda") && word[4] >= 'A' && word[4] <= 'Z')
      c.report(i, fmt::format("{} is called by host code, which a Plan replaces", word));
  }
}

void check_kernels(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (!d.is_kernel || d.kind != DeclarationKind::function) continue;
    if (!says(c, d, {"void"})) c.report(d.name, "a kernel returns void");
    if (d.in_record) c.report(d.name, "a kernel cannot be a member of a class");
  }
  for (const Kernel& kernel : c.kernels) {
    if (kernel.description.max_total_threads > 1024)
      c.report(kernel.place,
               fmt::format("a block has 1024 threads at most, not {}", kernel.description.max_total_threads));
    if (kernel.description.arguments.size() > 32)
      c.report(kernel.place, "the emulator gives a kernel 31 arguments at most");
  }
}

void check_variables(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (d.kind != DeclarationKind::variable || d.in_record || !d.name) continue;
    const bool constant = says(c, d, {"const", "constexpr"});
    if (says(c, d, {"__constant__"}) && !d.initialiser)
      c.report(d.name,
               fmt::format("nothing can fill '{}': a Plan copies nothing to __constant__ memory; give it a value "
                           "here or take it as a buffer",
                           c.text(d.name)));
    else if (says(c, d, {"__device__"}) && !constant && !says(c, d, {"__constant__", "__shared__"}))
      c.report(d.name, fmt::format("'{}' keeps its value between launches, which only buffers of the Plan may: take it "
                                   "as an argument",
                                   c.text(d.name)));
    if (says(c, d, {"__shared__"}) && !says(c, d, {"extern"}))
      c.report(d.name,
               fmt::format("'{}' is shared by the threads of a block: declare it in the kernel", c.text(d.name)));
  }
}

void check_shared(LintContext& c) {
  for (size_t i = 0; i + 1 < c.lexed.tokens.size(); ++i) {
    if (c.text(i) != "__shared__") continue;
    for (size_t k = i; c.text(k) != ";" && k + 1 < c.lexed.tokens.size(); ++k) {
      if (c.text(k) == "=") {
        c.report(k, "a __shared__ variable cannot have an initialiser: let one thread write it, then __syncthreads()");
        break;
      }
      if (c.lexed.partner[k] > k) k = c.lexed.partner[k];
    }
  }
}

void check_static_locals_of_cuda(LintContext& c) {
  for (const Declaration& d : c.declarations) {
    if (d.kind != DeclarationKind::function || !d.body) continue;
    for (size_t i = d.body; i < c.lexed.partner[d.body]; ++i) {
      if (c.text(i) != "static" || c.text(i - 1) == "__shared__" || c.text(i + 1) == "__shared__") continue;
      bool constant = false;
      for (size_t k = i; c.text(k) != ";" && c.text(k) != "=" && c.text(k) != "("; ++k)
        constant = constant || c.text(k) == "const" || c.text(k) == "constexpr" || c.text(k) == "__shared__";
      if (!constant)
        c.report(i, "a static variable keeps its value between launches, which only buffers of the Plan may");
    }
  }
}

}  // namespace

std::span<const LintRule> cuda_lint_rules() {
  static constexpr LintRule rules[] = {
      {"word", "inline PTX, exceptions, the device's heap, clocks, textures, clusters, asynchronous copies",
       check_words_of_cuda},
      {"launch", "launches with <<<...>>>, from the host or from a kernel", check_launches},
      {"host-code", "functions of the host, and calls of CUDA's host library", check_host_code},
      {"kernel", "kernels that return something, are members, or have too many threads or arguments", check_kernels},
      {"variable", "variables that live longer than a launch, or that nothing can fill", check_variables},
      {"shared", "__shared__ variables with an initialiser", check_shared},
      {"static-local", "static variables in functions", check_static_locals_of_cuda},
  };
  return rules;
}

}  // namespace kw::emulator
