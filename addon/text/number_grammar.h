// Numbers within exact bounds, as grammars over digits.
#ifndef HEARTH_TEXT_NUMBER_GRAMMAR_H_
#define HEARTH_TEXT_NUMBER_GRAMMAR_H_

#include <cstdint>

#include "addon/text/grammar_nodes.h"

namespace hearth {

// Whole numbers are written with at most this many digits: what fits a double and an int64 both ways.
constexpr int kMaxDigits = 15;
constexpr int64_t kLargestInteger = 999'999'999'999'999;

// Every integer from `low` to `high` in decimal, without leading zeroes; at most kLargestInteger in size.
// With `point` > 0 the numbers are scaled by 10^point and written with that many decimals: 125 as "1.25".
NodeId IntegerRange(GrammarNodes& nodes, int64_t low, int64_t high, int point = 0);

// -?digits[.digits][e[+-]digits], with as many digits as a reader can be trusted to keep.
NodeId AnyNumber(GrammarNodes& nodes);

}  // namespace hearth

#endif  // HEARTH_TEXT_NUMBER_GRAMMAR_H_
