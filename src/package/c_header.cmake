# Writes the C interface's header and its example into a source file as strings: kw_embed_c_header(OUT_VARIABLE).
function(kw_embed_c_header OUT)
  set(header_file ${CMAKE_SOURCE_DIR}/src/runtime/kernelwright.h)
  set(example_file ${CMAKE_SOURCE_DIR}/examples/c/run_package.c)
  set(made ${CMAKE_CURRENT_BINARY_DIR}/c_header_text.cpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${header_file} ${example_file})
  file(READ ${header_file} header)
  file(READ ${example_file} example)
  file(CONFIGURE OUTPUT ${made} @ONLY NEWLINE_STYLE UNIX CONTENT [=[#include "package/c_header.h"

namespace kw::package {

std::string_view c_header() { return R"kw_text(@header@)kw_text"; }
std::string_view c_example() { return R"kw_text(@example@)kw_text"; }

}  // namespace kw::package
]=])
  set(${OUT} ${made} PARENT_SCOPE)
endfunction()
