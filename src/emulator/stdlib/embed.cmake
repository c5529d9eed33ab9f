# Writes the headers into a source file as a table of strings: kw_embed_stdlib(OUT_VARIABLE).
function(kw_embed_stdlib OUT)
  set(made ${CMAKE_CURRENT_BINARY_DIR}/stdlib_text.cpp)
  set(rows "")
  foreach(name types traits vector math integer matrix simdgroup simdgroup_matrix atomic containers entry lanes launch metal macros
      cuda/macros cuda/types cuda/traits cuda/vector cuda/math cuda/fast_math cuda/integer cuda/half cuda/half_math
      cuda/warp cuda/atomic cuda/groups cuda/wmma cuda/cuda abi)
    set(file ${CMAKE_CURRENT_SOURCE_DIR}/stdlib/${name}.h)
    if(name STREQUAL abi)
      set(file ${CMAKE_CURRENT_SOURCE_DIR}/runtime/abi.h)
    endif()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} text)
    string(APPEND rows "    {\"${name}.h\", R\"kw_text(${text})kw_text\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${made} @ONLY NEWLINE_STYLE UNIX CONTENT [=[#include "emulator/stdlib/stdlib.h"

namespace kw::emulator {

std::span<const StdlibFile> stdlib_files() {
  static constexpr StdlibFile files[] = {
@rows@  };
  return files;
}

}  // namespace kw::emulator
]=])
  set(${OUT} ${made} PARENT_SCOPE)
endfunction()
