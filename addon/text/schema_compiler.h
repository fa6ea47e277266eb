// JSON Schema (draft 2020-12, the part that can be enforced while decoding) to grammar nodes.
//
// Values are written as json.dumps does, {"a": 1, "b": [1, 2]}, or without the space after "," and ":". An object has
// its declared properties in the declared order and no others ("additionalProperties" is taken as false); one without
// "properties" is a map. Numbers have at most 15 digits, bounded ones at most six decimals. oneOf is taken as anyOf.
// References and values of any kind nest up to 64 levels deep.
// A keyword that could not be enforced is SCHEMA_INVALID with its place, never ignored; annotations are fine.
#ifndef HEARTH_TEXT_SCHEMA_COMPILER_H_
#define HEARTH_TEXT_SCHEMA_COMPILER_H_

#include <string_view>

#include "addon/base/status.h"
#include "addon/text/grammar_nodes.h"

namespace hearth {

// Returns the root.
StatusOr<NodeId> CompileSchema(std::string_view json_schema, GrammarNodes& nodes);

}  // namespace hearth

#endif  // HEARTH_TEXT_SCHEMA_COMPILER_H_
