# Builds text files in: kw_embed(OUT_VARIABLE HEADER files...) makes a source file that defines
# find_embedded and embedded_text, which HEADER declares. A text is named by its path below the first folder.
function(kw_embed OUT HEADER)
  set(made ${CMAKE_CURRENT_BINARY_DIR}/embedded_text.cpp)
  set(rows "")
  foreach(name ${ARGN})
    set(path ${CMAKE_CURRENT_SOURCE_DIR}/${name})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
    file(READ ${path} text)
    string(FIND ${name} "/" slash)
    math(EXPR slash "${slash} + 1")
    string(SUBSTRING ${name} ${slash} -1 short)
    string(APPEND rows "    {\"${short}\", R\"kw_text(${text})kw_text\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${made} @ONLY NEWLINE_STYLE UNIX CONTENT [=[#include "@HEADER@"

#include "base/result.h"

namespace kw::author {
namespace {
struct Row {
  std::string_view name, text;
};
const Row kRows[] = {
@rows@};
}  // namespace

std::string_view find_embedded(std::string_view name) {
  for (const Row& row : kRows)
    if (row.name == name) return row.text;
  return "";
}

std::string_view embedded_text(std::string_view name) {
  const std::string_view text = find_embedded(name);
  check(!text.empty(), "an embedded text that was not built in");
  return text;
}

}  // namespace kw::author
]=])
  set(${OUT} ${made} PARENT_SCOPE)
endfunction()
