# Writes cpu_prelude.h into a source file as a string: kw_embed_prelude(OUT_VARIABLE).
function(kw_embed_prelude OUT)
  set(text_file ${CMAKE_CURRENT_SOURCE_DIR}/emit/cpu_prelude.h)
  set(made ${CMAKE_CURRENT_BINARY_DIR}/cpu_prelude_text.cpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${text_file})
  file(READ ${text_file} text)
  file(CONFIGURE OUTPUT ${made} @ONLY NEWLINE_STYLE UNIX CONTENT [=[#include "kernel/emit/prelude.h"

namespace kw::kernel {

std::string_view cpu_prelude() {
  return R"kw_text(@text@)kw_text";
}

}  // namespace kw::kernel
]=])
  set(${OUT} ${made} PARENT_SCOPE)
endfunction()
