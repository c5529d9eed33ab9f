#pragma once
#include "base/result.h"
#include "module/json_cursor.h"
#include "module/program.h"

namespace kw::module {

/// Reads a serialised ExportedProgram (schema major 8). Sub-graphs of grad-mode and disabled-autocast regions are
/// inlined, shape assertions dropped. Every tensor name is defined once and before its use.
/// fails: pt2.schema, pt2.dynamic_shape, pt2.dtype, pt2.higher_order, pt2.hostile
Result<Program> read_program(const Json& json);

}  // namespace kw::module
