#pragma once
#include <string_view>

namespace kw::package {

/// The text of kernelwright.h, which goes into every package; and of the C program that runs one.
std::string_view c_header();
std::string_view c_example();

}  // namespace kw::package
