#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace kw::target {

/// Refuses source text that reaches outside its own translation unit: includes, inline assembly, pragmas other
/// than loop hints, token pasting, constructors, attributes that place or alias symbols, and other spellings of these
/// (digraphs, trigraphs, line splices). A first gate with a line number; the finished binary is checked again.
/// fails: source.forbidden
Status check_source(std::string_view source);

}  // namespace kw::target
