// Schemas of numbers to grammar nodes: minimum, maximum, exclusiveMinimum, exclusiveMaximum; for integers multipleOf.
#ifndef HEARTH_TEXT_NUMBER_SCHEMA_H_
#define HEARTH_TEXT_NUMBER_SCHEMA_H_

#include <string>

#include "addon/base/status.h"
#include "addon/text/grammar_nodes.h"
#include "addon/text/json.h"

namespace hearth {

// Integers of at most 15 digits.
StatusOr<NodeId> IntegerSchema(const Json& schema, const std::string& path, GrammarNodes& nodes);
// With bounds, every number within them that has at most six decimals and 15 digits; without, exponents too.
StatusOr<NodeId> NumberSchema(const Json& schema, const std::string& path, GrammarNodes& nodes);

}  // namespace hearth

#endif  // HEARTH_TEXT_NUMBER_SCHEMA_H_
