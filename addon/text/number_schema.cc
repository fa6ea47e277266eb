#include "addon/text/number_schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <tuple>
#include <vector>

#include "addon/text/number_grammar.h"
#include "addon/text/schema_keywords.h"

namespace hearth {
namespace {

using Kind = Json::Kind;

constexpr int64_t kMostMultiples = 10'000;
constexpr int kMostDecimals = 6;

struct Bound {
  double value = 0;
  bool given = false, exclusive = false;
};

StatusOr<Bound> ReadBound(const Json& schema, const char* inclusive, const char* exclusive, bool lower,
                          const std::string& path) {
  Bound bound;
  for (const char* keyword : {inclusive, exclusive}) {
    const Json* value = schema.Find(keyword);
    if (value == nullptr) continue;
    if (!value->Is(Kind::kNumber)) return SchemaError(path + "/" + keyword, "should be a number");
    double number;
    const char* end = value->text.data() + value->text.size();
    if (std::from_chars(value->text.data(), end, number).ec != std::errc())
      return SchemaError(path + "/" + keyword, "is larger or smaller than a double holds");
    const bool tighter = !bound.given || (lower ? number >= bound.value : number <= bound.value);
    if (tighter) bound = {number, true, keyword == exclusive};
  }
  return bound;
}

StatusOr<NodeId> Multiples(const Json& step, int64_t from, int64_t to, const std::string& path, GrammarNodes& nodes) {
  if (!step.Is(Kind::kNumber) || step.text.find_first_not_of("0123456789") != std::string::npos ||
      step.text.size() > 9 || std::atoll(step.text.c_str()) < 1) {
    return SchemaError(path + "/multipleOf", "only positive integers are enforced");
  }
  const int64_t n = std::atoll(step.text.c_str());
  if (n == 1) return IntegerRange(nodes, from, to);
  if ((to - from) / n > kMostMultiples)
    return SchemaError(path + "/multipleOf", "needs a minimum and a maximum with at most " +
                                                 std::to_string(kMostMultiples) + " multiples between");
  std::vector<std::string> texts;
  int64_t value = from / n * n;
  if (value < from) value += n;
  for (; value <= to; value += n) texts.push_back(std::to_string(value));
  if (texts.empty()) return SchemaError(path, "no multiple of " + step.text + " is within the bounds");
  return nodes.Literals(std::move(texts));
}

// A bound times 10^kMostDecimals, exactly.
StatusOr<__int128> Scaled(const Json& bound, const std::string& path) {
  const std::string& text = bound.text;
  const size_t point = std::min(text.find('.'), text.size());
  const size_t decimals = point == text.size() ? 0 : text.size() - point - 1;
  if (text.find_first_of("eE") != std::string::npos || decimals > kMostDecimals || point > 16) {
    return SchemaError(path, "should be written without exponent, with at most 15 digits before the point and " +
                                 std::to_string(kMostDecimals) + " behind it");
  }
  __int128 value = 0;
  for (const char c : text) {
    if (c != '-' && c != '.') value = value * 10 + (c - '0');
  }
  for (size_t i = decimals; i < kMostDecimals; ++i) value *= 10;
  return text[0] == '-' ? -value : value;
}

__int128 FloorDivide(__int128 a, __int128 b) { return a / b - (a % b < 0 ? 1 : 0); }

}  // namespace

StatusOr<NodeId> IntegerSchema(const Json& schema, const std::string& path, GrammarNodes& nodes) {
  HEARTH_ASSIGN_OR_RETURN(const Bound low, ReadBound(schema, "minimum", "exclusiveMinimum", true, path));
  HEARTH_ASSIGN_OR_RETURN(const Bound high, ReadBound(schema, "maximum", "exclusiveMaximum", false, path));
  const double limit = static_cast<double>(kLargestInteger);
  double first = low.given ? std::ceil(low.value) : -limit, last = high.given ? std::floor(high.value) : limit;
  if (low.exclusive && first == low.value) first += 1;
  if (high.exclusive && last == high.value) last -= 1;
  if (first > last || first > limit || last < -limit) return SchemaError(path, "no integer is within the bounds");
  const int64_t from = static_cast<int64_t>(std::max(first, -limit)), to = static_cast<int64_t>(std::min(last, limit));
  const Json* step = schema.Find("multipleOf");
  if (step == nullptr) return IntegerRange(nodes, from, to);
  return Multiples(*step, from, to, path, nodes);
}

StatusOr<NodeId> NumberSchema(const Json& schema, const std::string& path, GrammarNodes& nodes) {
  if (schema.Find("multipleOf") != nullptr) return SchemaError(path + "/multipleOf", "is enforced for integers only");
  HEARTH_ASSIGN_OR_RETURN(const Bound low, ReadBound(schema, "minimum", "exclusiveMinimum", true, path));
  HEARTH_ASSIGN_OR_RETURN(const Bound high, ReadBound(schema, "maximum", "exclusiveMaximum", false, path));
  if (!low.given && !high.given) return AnyNumber(nodes);
  __int128 unit = 1;
  for (int i = 0; i < kMostDecimals; ++i) unit *= 10;
  // In units of the last decimal, both inclusive.
  __int128 first = -kLargestInteger * unit, last = kLargestInteger * unit;
  for (const auto& [keyword, lower, exclusive] : {std::tuple("minimum", true, 0),
                                                  {"exclusiveMinimum", true, 1},
                                                  {"maximum", false, 0},
                                                  {"exclusiveMaximum", false, 1}}) {
    const Json* bound = schema.Find(keyword);
    if (bound == nullptr) continue;
    HEARTH_ASSIGN_OR_RETURN(const __int128 value, Scaled(*bound, path + "/" + keyword));
    if (lower) {
      first = std::max(first, value + exclusive);
    } else {
      last = std::min(last, value - exclusive);
    }
  }
  std::vector<NodeId> choices;
  for (int decimals = 0; decimals <= kMostDecimals; ++decimals, unit /= 10) {
    const __int128 limit = kLargestInteger;
    const __int128 from = std::max(-FloorDivide(-first, unit), -limit), to = std::min(FloorDivide(last, unit), limit);
    if (from <= to)
      choices.push_back(IntegerRange(nodes, static_cast<int64_t>(from), static_cast<int64_t>(to), decimals));
  }
  if (choices.empty())
    return SchemaError(path,
                       "no number with at most " + std::to_string(kMostDecimals) + " decimals is within the bounds");
  return nodes.Choice(std::move(choices));
}

}  // namespace hearth
