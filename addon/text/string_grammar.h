// Characters of JSON strings, and regular expressions over them.
#ifndef HEARTH_TEXT_STRING_GRAMMAR_H_
#define HEARTH_TEXT_STRING_GRAMMAR_H_

#include <string_view>

#include "addon/text/grammar_nodes.h"

namespace hearth {

// Builds each part once and shares it.
class StringGrammar {
 public:
  explicit StringGrammar(GrammarNodes& nodes) : nodes_(nodes) {}

  // One character as JSON may write it: UTF-8 as it is, or an escape.
  NodeId AnyCharacter();

  // The inside of a string that matches an ECMAScript regular expression. What is enforced: literals, `.`, classes and
  // \d \w \s (ASCII, and "everything else" in negated ones), groups, `|`, `* + ? {m,n}`, `^` at the start and `$` at the
  // end; without them anything may come before or after. SCHEMA_INVALID names anything else.
  StatusOr<NodeId> Pattern(std::string_view pattern);

 private:
  NodeId NonAscii();

  GrammarNodes& nodes_;
  NodeId any_ = -1, non_ascii_ = -1;

  friend class PatternParser;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_STRING_GRAMMAR_H_
