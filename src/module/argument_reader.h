#pragma once
#include <functional>
#include <string>

#include "module/json_cursor.h"
#include "module/program.h"

namespace kw::module {

/// Gives the program-wide name of a tensor name read in some scope; fails (through the keeper) when undefined.
using NameResolver = std::function<std::string(const std::string& name)>;

/// Reads one serialised Argument. fails: pt2.schema, pt2.dtype (complex), pt2.dynamic_shape, pt2.higher_order
Argument read_argument(const JsonCursor& json, const NameResolver& resolve);

/// The tensor names that an output Argument defines; "" where an optional one is absent.
std::vector<std::string> read_output_names(const JsonCursor& json);

/// The user's own line in a node's metadata: the innermost frame outside torch.
SourceLine read_source(const JsonCursor& metadata);

}  // namespace kw::module
