#pragma once
#include <string>
#include <string_view>

namespace kw::emulator {

/// LLVM's text of a module, with a call of kw_emu_block at the head of every basic block that computes: its number,
/// floating-point operations (a fused multiply-add counts two, a vector its lanes) and instructions.
std::string instrument_blocks(std::string_view text);

}  // namespace kw::emulator
