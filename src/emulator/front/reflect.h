#pragma once
#include <set>
#include <string>
#include <vector>

#include "emulator/front/outline.h"
#include "emulator/front/reflection.h"

namespace kw::emulator {

/// A function's parameter, as token indices.
struct Parameter {
  size_t first = 0, last = 0;  // half open, default value and all
  size_t name = 0;             // 0: it has none
  size_t type_last = 0;        // behind the type (name, arrays and default value left out)
  bool is_array = false;       // `T x[3]`, which is a pointer
  std::vector<Attribute> attributes;
};
std::vector<Parameter> read_parameters(const Lexed& lexed, size_t open);

/// A kernel that is to be compiled: a plain function or one instantiation of a template.
struct Kernel {
  KernelDescription description;
  const Declaration* function = nullptr;  // the definition
  size_t place = 0;                       // token whose line errors of the instantiation are reported at
  std::string signature;                  // "void (*)(...)" that picks an overload, or empty
};

/// Every kernel with its arguments: implicit buffer indices are given in order to the first free places.
/// fails: *.kernel (an instantiation of no known kernel, two kernels of one name)
Result<std::vector<Kernel>> find_kernels(const Lexed& lexed, const std::vector<Declaration>& declarations);

/// The same for CUDA (reflect_cuda.cpp): __global__ functions and explicit instantiations of templates of them.
Result<std::vector<Kernel>> find_cuda_kernels(const Lexed& lexed, const std::vector<Declaration>& declarations);

// Parts of both.
Failure kernel_failure(const Lexed& lexed, size_t token, const std::string& what);
void place_at(const Lexed& lexed, Kernel& kernel, size_t token);
/// "void (*)(types)" of the parameter list that opens at `open`.
std::string signature_of(const Lexed& lexed, size_t open);
/// fails: *.kernel (a second one of this name)
Status add_unique(const Lexed& lexed, std::vector<Kernel>& kernels, std::set<std::string>& names, Kernel kernel);

/// The tokens of [first, last) without attributes and address spaces (`constant` becomes const), separated by blanks.
std::string plain_text(const Lexed& lexed, size_t first, size_t last);

/// The value of a string literal, possibly in several pieces, or of nothing.
std::string joined_strings(const Lexed& lexed, size_t first, size_t last);
std::optional<uint32_t> plain_number(const Lexed& lexed, size_t first, size_t last);

}  // namespace kw::emulator
