#include "addon/text/number_grammar.h"

#include <algorithm>
#include <string>

namespace hearth {
namespace {

// Digit strings of equal length between two of that length: digit by digit, as long as either bound is still touched.
class FixedRange {
 public:
  // A point stands before the last `point` digits.
  FixedRange(GrammarNodes& nodes, std::string low, std::string high, int point)
      : nodes_(nodes), low_(std::move(low)), high_(std::move(high)), point_(low_.size() - static_cast<size_t>(point)) {}

  NodeId Build() { return From(0, true, true); }

 private:
  NodeId From(size_t at, bool on_low, bool on_high) {
    if (at == low_.size()) return GrammarNodes::kEmptyNode;
    on_low = on_low && low_.find_first_not_of('0', at) != std::string::npos;
    on_high = on_high && high_.find_first_not_of('9', at) != std::string::npos;
    if (!on_low && !on_high) return Free(at);
    const char first = on_low ? low_[at] : '0', last = on_high ? high_[at] : '9';
    std::vector<NodeId> choices;
    const auto add = [&](char from, char to, bool low, bool high) {
      if (from > to) return;
      choices.push_back(
          nodes_.Sequence({Point(at), nodes_.Range(static_cast<unsigned char>(from), static_cast<unsigned char>(to)),
                           From(at + 1, low, high)}));
    };
    if (first == last) {
      add(first, last, on_low, on_high);
    } else {
      const char inner_first = static_cast<char>(first + on_low), inner_last = static_cast<char>(last - on_high);
      if (on_low) add(first, first, true, false);
      add(inner_first, inner_last, false, false);
      if (on_high) add(last, last, false, true);
    }
    return nodes_.Choice(std::move(choices));
  }

  // Any digits for the rest.
  NodeId Free(size_t at) {
    const auto digits = [&](size_t count) {
      return nodes_.Repeat(nodes_.Range('0', '9'), static_cast<int32_t>(count), static_cast<int32_t>(count));
    };
    if (at > point_ || point_ == low_.size()) return digits(low_.size() - at);
    return nodes_.Sequence({digits(point_ - at), nodes_.Byte('.'), digits(low_.size() - point_)});
  }

  NodeId Point(size_t at) { return at == point_ ? nodes_.Byte('.') : GrammarNodes::kEmptyNode; }

  GrammarNodes& nodes_;
  std::string low_, high_;
  size_t point_;
};

// Magnitudes from low to high, both at least 0.
void AddMagnitudes(GrammarNodes& nodes, int64_t low, int64_t high, int point, bool negative,
                   std::vector<NodeId>& choices) {
  int64_t largest = 9;
  for (int i = 0; i < point; ++i) largest = largest * 10 + 9;
  // Each length by itself; with a point the shortest has one digit before it, which may be 0.
  int64_t smallest = 0;
  for (size_t digits = static_cast<size_t>(point) + 1; digits <= kMaxDigits; ++digits) {
    const int64_t from = std::max(low, smallest), to = std::min(high, largest);
    if (from <= to) {
      std::string first = std::to_string(from), last = std::to_string(to);
      first.insert(0, digits - first.size(), '0');
      last.insert(0, digits - last.size(), '0');
      const NodeId range = FixedRange(nodes, std::move(first), std::move(last), point).Build();
      choices.push_back(negative ? nodes.Sequence({nodes.Byte('-'), range}) : range);
    }
    smallest = largest + 1;
    largest = largest * 10 + 9;
  }
}

}  // namespace

NodeId IntegerRange(GrammarNodes& nodes, int64_t low, int64_t high, int point) {
  low = std::max(low, -kLargestInteger);
  high = std::min(high, kLargestInteger);
  std::vector<NodeId> choices;
  if (high >= 0) AddMagnitudes(nodes, std::max<int64_t>(low, 0), high, point, false, choices);
  if (low < 0) AddMagnitudes(nodes, std::max<int64_t>(-high, 1), -low, point, true, choices);
  return nodes.Choice(std::move(choices));
}

NodeId AnyNumber(GrammarNodes& nodes) {
  const NodeId digit = nodes.Range('0', '9');
  const NodeId whole =
      nodes.Choice({nodes.Byte('0'), nodes.Sequence({nodes.Range('1', '9'), nodes.Repeat(digit, 0, kMaxDigits - 1)})});
  const NodeId fraction = nodes.Sequence({nodes.Byte('.'), nodes.Repeat(digit, 1, kMaxDigits)});
  ByteSet e, sign;
  e.set('e').set('E');
  sign.set('+').set('-');
  const NodeId exponent =
      nodes.Sequence({nodes.Bytes(e), nodes.Optional(nodes.Bytes(sign)), nodes.Repeat(digit, 1, 2)});
  return nodes.Sequence({nodes.Optional(nodes.Byte('-')), whole, nodes.Optional(fraction), nodes.Optional(exponent)});
}

}  // namespace hearth
