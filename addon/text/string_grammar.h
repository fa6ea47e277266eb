// Characters of JSON strings, and regular expressions over them.
#ifndef HEARTH_TEXT_STRING_GRAMMAR_H_
#define HEARTH_TEXT_STRING_GRAMMAR_H_

#include <string_view>

#include "addon/base/status.h"
#include "addon/text/grammar_nodes.h"

namespace hearth {

// Builds each part once and shares it.
class StringGrammar {
 public:
  explicit StringGrammar(GrammarNodes& nodes) : nodes_(nodes) {}

  // One character as JSON may write it: UTF-8 as it is, or an escape.
  NodeId AnyCharacter();

  // The inside of a string that matches an ECMAScript regular expression (as with the flag u). What is enforced:
  // literals, `.`, classes, \d \w \s and their opposites, \t \n \r \f \v \xHH \uHHHH, groups, `|`, `* + ? {m,n}`, `^`
  // at the start and `$` at the end; without them anything may come before or after. SCHEMA_INVALID names anything
  // else, and patterns of which more than kMaxPatternPlaces places would have to be told apart.
  StatusOr<NodeId> Pattern(std::string_view pattern);
  static constexpr int64_t kMaxPatternPlaces = 12'288;

 private:
  GrammarNodes& nodes_;
  NodeId any_ = -1;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_STRING_GRAMMAR_H_
