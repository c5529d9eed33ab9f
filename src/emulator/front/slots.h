#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

namespace kw::emulator {

/// C++ that gives the group's variable `name` a place: `record` is a struct that declares it as the user did. A
/// reference to it follows, so that the rest of the block uses the name as before.
inline std::string slot_text(const std::string& record, size_t number, std::string_view name, uint32_t line) {
  return fmt::format(
      " static KwEmuGroupSlot {0} = {{sizeof({1}), alignof({2}), kw_emu::granule_of<decltype({1})>, {3}, \"{4}\", "
      "__FILE__, 0}}; auto& {4} = *static_cast<decltype({1})*>(kw_emu_group_variable(&{0}));",
      fmt::format("kw_slot_{}", number), fmt::format("{}::{}", record, name), record, line, name);
}

}  // namespace kw::emulator
