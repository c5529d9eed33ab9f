#pragma once
#include <string>
#include <vector>

#include "emulator/front/reflect.h"

namespace kw::emulator {

struct FunctionConstant {
  ConstantDescription description;
  std::string qualified;   // the C++ variable
  std::string scope;       // of it: "ns::"
  std::string defined;     // the flag beside it
  std::string index_text;  // its index as written
};

/// The C++ behind the user's text: a row and an entry for each kernel, the function constants, and kw_emu_module().
std::string registration(const Lexed& lexed, const std::vector<Kernel>& kernels,
                         const std::vector<FunctionConstant>& constants, const std::vector<std::string>& refreshes,
                         const std::vector<std::string>& wanted);

}  // namespace kw::emulator
