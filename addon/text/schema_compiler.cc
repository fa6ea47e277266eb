#include "addon/text/schema_compiler.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "addon/text/json.h"
#include "addon/text/number_grammar.h"
#include "addon/text/string_grammar.h"
#include "addon/text/utf8.h"

namespace hearth {
namespace {

using Kind = Json::Kind;

constexpr std::string_view kAnnotations[] = {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly"};
constexpr std::string_view kKnown[] = {
    "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions", "properties", "required", "additionalProperties",
    "items", "prefixItems", "minItems", "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minProperties", "maxProperties"};
constexpr std::string_view kTypes[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

constexpr int64_t kLargestCount = 1 << 20;
constexpr int64_t kMostMultiples = 10'000;
constexpr int kMostDecimals = 6;
constexpr int kMaxDepth = 100;
// Of an object's properties, and of a choice's schemas: each is a stack of the automaton until they can be told apart.
constexpr size_t kMostBranches = 1024;

template <typename List>
bool Contains(const List& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& root, GrammarNodes& nodes) : root_(root), nodes_(nodes), strings_(nodes) {
    comma_ = nodes_.Sequence({nodes_.Byte(','), nodes_.Optional(nodes_.Byte(' '))});
    colon_ = nodes_.Sequence({nodes_.Byte(':'), nodes_.Optional(nodes_.Byte(' '))});
  }

  StatusOr<NodeId> Compile() { return Value(root_, "#", 0); }

 private:
  Status Fail(const std::string& path, const std::string& what) const { return Error(Code::SCHEMA_INVALID, "schema at %s: %s", path.c_str(), what.c_str()); }

  // As much of a text from the schema as an error shows.
  static std::string Shown(const std::string& text) {
    std::string start = text.substr(0, 80);
    return TakeUtf8(start, true);
  }

  // Any schema: `true`, `false` or an object.
  StatusOr<NodeId> Value(const Json& schema, const std::string& path, int depth) {
    if (nodes_.full()) return Fail(path, "the schema is too large to be enforced");
    if (depth > kMaxDepth) return Fail(path, "nested too deeply");
    if (schema.Is(Kind::kBool)) return schema.boolean ? AnyValue() : nodes_.Choice({});
    if (!schema.Is(Kind::kObject)) return Fail(path, "a schema should be an object or a boolean");
    for (const auto& [keyword, value] : schema.members) {
      if (!Contains(kKnown, keyword) && !Contains(kAnnotations, keyword)) return Fail(path, "the keyword \"" + Shown(keyword) + "\" is not enforced");
    }
    if (const Json* ref = schema.Find("$ref")) return Reference(schema, *ref, path, depth);
    if (const Json* all = schema.Find("allOf")) return Merged(schema, *all, path, depth);
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (const Json* choices = schema.Find(keyword)) return Alternatives(schema, *choices, path + "/" + keyword, depth);
    }
    if (const Json* value = schema.Find("const")) return Enumeration(schema, "const", {*value}, path);
    if (const Json* values = schema.Find("enum")) {
      if (!values->Is(Kind::kArray) || values->items.empty()) return Fail(path + "/enum", "should be an array of at least one value");
      return Enumeration(schema, "enum", values->items, path);
    }
    return ByType(schema, path, depth);
  }

  // Beside these keywords only annotations and definitions may stand.
  Status CheckAlone(const Json& schema, std::string_view keyword, const std::string& path) const {
    for (const auto& [other, value] : schema.members) {
      if (other == keyword || other == "$defs" || other == "definitions" || Contains(kAnnotations, other)) continue;
      return Fail(path, "\"" + other + "\" beside \"" + std::string(keyword) + "\" is not enforced");
    }
    return Status();
  }

  StatusOr<NodeId> Reference(const Json& schema, const Json& ref, const std::string& path, int depth) {
    HEARTH_RETURN_IF_ERROR(CheckAlone(schema, "$ref", path));
    if (!ref.Is(Kind::kString) || ref.text.empty() || ref.text[0] != '#') return Fail(path, "a $ref should begin with #: only this document is looked in");
    const auto [it, fresh] = rules_.emplace(ref.text, -1);
    if (!fresh) return it->second;
    const NodeId rule = nodes_.Rule();
    it->second = rule;
    HEARTH_ASSIGN_OR_RETURN(const Json* target, Resolve(ref.text, path));
    HEARTH_ASSIGN_OR_RETURN(const NodeId body, Value(*target, Shown(ref.text), depth + 1));
    nodes_.SetRule(rule, body);
    return rule;
  }

  // A JSON pointer (RFC 6901) in fragment form.
  StatusOr<const Json*> Resolve(const std::string& pointer, const std::string& path) const {
    const Json* at = &root_;
    size_t from = 1;
    while (from < pointer.size()) {
      if (pointer[from] != '/') return Fail(path, "the $ref " + Shown(pointer) + " is no JSON pointer");
      const size_t to = std::min(pointer.find('/', from + 1), pointer.size());
      std::string token;
      for (size_t i = from + 1; i < to; ++i) {
        if (pointer[i] == '~' && i + 1 < to && (pointer[i + 1] == '0' || pointer[i + 1] == '1')) {
          token += pointer[++i] == '0' ? '~' : '/';
        } else {
          token += pointer[i];
        }
      }
      const Json* next = at->Find(token);
      if (next == nullptr && at->Is(Kind::kArray) && !token.empty() && token.size() < 6 && token.find_first_not_of("0123456789") == std::string::npos) {
        const size_t index = static_cast<size_t>(std::atoi(token.c_str()));
        if (index < at->items.size()) next = &at->items[index];
      }
      if (next == nullptr) return Fail(path, "the $ref " + Shown(pointer) + " leads nowhere");
      at = next;
      from = to;
    }
    return at;
  }

  StatusOr<NodeId> Alternatives(const Json& schema, const Json& choices, const std::string& path, int depth) {
    HEARTH_RETURN_IF_ERROR(CheckAlone(schema, schema.Find("anyOf") ? "anyOf" : "oneOf", path));
    if (!choices.Is(Kind::kArray) || choices.items.empty()) return Fail(path, "should be an array of at least one schema");
    if (choices.items.size() > kMostBranches) return Fail(path, "more than " + std::to_string(kMostBranches) + " choices are not enforced");
    std::vector<NodeId> nodes;
    for (size_t i = 0; i < choices.items.size(); ++i) {
      HEARTH_ASSIGN_OR_RETURN(const NodeId node, Value(choices.items[i], path + "/" + std::to_string(i), depth + 1));
      nodes.push_back(node);
    }
    return nodes_.Choice(std::move(nodes));
  }

  // allOf of one schema is that schema; of several, objects whose members can simply be put together.
  StatusOr<NodeId> Merged(const Json& schema, const Json& all, const std::string& path, int depth) {
    HEARTH_RETURN_IF_ERROR(CheckAlone(schema, "allOf", path));
    if (!all.Is(Kind::kArray) || all.items.empty()) return Fail(path + "/allOf", "should be an array of at least one schema");
    if (all.items.size() == 1) return Value(all.items[0], path + "/allOf/0", depth + 1);
    Json merged, properties, required;
    merged.kind = properties.kind = Kind::kObject;
    required.kind = Kind::kArray;
    for (const Json& part : all.items) {
      if (!part.Is(Kind::kObject)) return Fail(path + "/allOf", "should hold objects");
      for (const auto& [keyword, value] : part.members) {
        const bool object_type = keyword == "type" && value.Is(Kind::kString) && value.text == "object";
        if (object_type || Contains(kAnnotations, keyword)) continue;
        if (keyword == "properties" && value.Is(Kind::kObject)) {
          for (const auto& member : value.members) {
            if (properties.Find(member.first) != nullptr) return Fail(path + "/allOf", "\"" + Shown(member.first) + "\" is declared twice");
            properties.members.push_back(member);
          }
        } else if (keyword == "required" && value.Is(Kind::kArray)) {
          required.items.insert(required.items.end(), value.items.begin(), value.items.end());
        } else {
          return Fail(path + "/allOf", "\"" + keyword + "\" in one of several schemas is not enforced");
        }
      }
    }
    Json type;
    type.kind = Kind::kString;
    type.text = "object";
    merged.members = {{"type", type}, {"properties", properties}, {"required", required}};
    return Value(merged, path + "/allOf", depth + 1);
  }

  // What "type" rules out is left out.
  StatusOr<NodeId> Enumeration(const Json& schema, std::string_view keyword, const std::vector<Json>& values, const std::string& path) {
    for (const auto& [other, value] : schema.members) {
      if (other != keyword && other != "type" && other != "$defs" && other != "definitions" && !Contains(kAnnotations, other)) {
        return Fail(path, "\"" + other + "\" beside \"" + std::string(keyword) + "\" is not enforced");
      }
    }
    HEARTH_ASSIGN_OR_RETURN(const std::vector<std::string> types, Types(schema, path));
    std::vector<std::string> texts;
    for (const Json& value : values) {
      const std::string type = TypeName(value);
      if (types.empty() || Contains(types, type) || (type == "integer" && Contains(types, "number"))) texts.push_back(value.Dump());
    }
    if (texts.empty()) return Fail(path + "/" + std::string(keyword), "has no value of the type");
    return nodes_.Literals(std::move(texts));
  }

  static std::string TypeName(const Json& value) {
    switch (value.kind) {
      case Kind::kNull:
        return "null";
      case Kind::kBool:
        return "boolean";
      case Kind::kNumber:
        return value.text.find_first_of(".eE") == std::string::npos ? "integer" : "number";
      case Kind::kString:
        return "string";
      case Kind::kArray:
        return "array";
      case Kind::kObject:
        return "object";
    }
    return "null";
  }

  // What "type" names; empty when it is absent.
  StatusOr<std::vector<std::string>> Types(const Json& schema, const std::string& path) const {
    const Json* type = schema.Find("type");
    std::vector<std::string> names;
    if (type == nullptr) return names;
    const std::vector<Json> listed = type->Is(Kind::kArray) ? type->items : std::vector<Json>{*type};
    for (const Json& name : listed) {
      if (!name.Is(Kind::kString) || !Contains(kTypes, name.text)) return Fail(path + "/type", "should be a JSON type or an array of them");
      names.push_back(name.text);
    }
    if (names.empty()) return Fail(path + "/type", "names no type");
    return names;
  }

  // Without "type", the other keywords tell which type is meant; without any, every value fits.
  StatusOr<std::vector<std::string>> MeantTypes(const Json& schema, const std::string& path) const {
    HEARTH_ASSIGN_OR_RETURN(std::vector<std::string> types, Types(schema, path));
    if (!types.empty()) return types;
    static constexpr std::pair<std::string_view, std::string_view> kHints[] = {
        {"properties", "object"}, {"required", "object"},     {"additionalProperties", "object"}, {"minProperties", "object"}, {"maxProperties", "object"},
        {"items", "array"},       {"prefixItems", "array"},   {"minItems", "array"},              {"maxItems", "array"},       {"minLength", "string"},
        {"maxLength", "string"},  {"pattern", "string"},      {"minimum", "number"},              {"maximum", "number"},       {"exclusiveMinimum", "number"},
        {"exclusiveMaximum", "number"}, {"multipleOf", "number"}};
    for (const auto& [keyword, type] : kHints) {
      if (schema.Find(keyword) != nullptr && !Contains(types, type)) types.emplace_back(type);
    }
    return types;
  }

  StatusOr<NodeId> ByType(const Json& schema, const std::string& path, int depth) {
    HEARTH_ASSIGN_OR_RETURN(const std::vector<std::string> types, MeantTypes(schema, path));
    if (types.empty()) return AnyValue();
    std::vector<NodeId> choices;
    for (const std::string& type : types) {
      StatusOr<NodeId> node = type == "null"      ? StatusOr<NodeId>(nodes_.Literal("null"))
                              : type == "boolean" ? StatusOr<NodeId>(nodes_.Choice({nodes_.Literal("true"), nodes_.Literal("false")}))
                              : type == "integer" ? Integer(schema, path)
                              : type == "number"  ? Number(schema, path)
                              : type == "string"  ? String(schema, path)
                              : type == "array"   ? Array(schema, path, depth)
                                                  : Object(schema, path, depth);
      if (!node.ok()) return node.status();
      choices.push_back(*node);
    }
    return nodes_.Choice(std::move(choices));
  }

  StatusOr<int64_t> Count(const Json& schema, const char* keyword, int64_t otherwise, const std::string& path) const {
    const Json* value = schema.Find(keyword);
    if (value == nullptr) return otherwise;
    if (!value->Is(Kind::kNumber) || value->text.find_first_not_of("0123456789") != std::string::npos || value->text.size() > 7) {
      return Fail(path + "/" + keyword, "should be a count up to " + std::to_string(kLargestCount));
    }
    return std::min<int64_t>(std::atoll(value->text.c_str()), kLargestCount);
  }

  StatusOr<NodeId> String(const Json& schema, const std::string& path) {
    HEARTH_ASSIGN_OR_RETURN(const int64_t min, Count(schema, "minLength", 0, path));
    HEARTH_ASSIGN_OR_RETURN(const int64_t max, Count(schema, "maxLength", GrammarNode::kUnbounded, path));
    NodeId inside;
    if (const Json* pattern = schema.Find("pattern")) {
      if (min > 0 || max < GrammarNode::kUnbounded) return Fail(path, "\"pattern\" together with a length is not enforced");
      if (!pattern->Is(Kind::kString)) return Fail(path + "/pattern", "should be a string");
      StatusOr<NodeId> matching = strings_.Pattern(pattern->text);
      if (!matching.ok()) return Fail(path + "/pattern", matching.status().message());
      inside = *matching;
    } else {
      if (max < min) return Fail(path, "maxLength is less than minLength");
      inside = nodes_.Repeat(strings_.AnyCharacter(), static_cast<int32_t>(min), static_cast<int32_t>(max));
    }
    return nodes_.Sequence({nodes_.Byte('"'), inside, nodes_.Byte('"')});
  }

  struct Bound {
    double value = 0;
    bool given = false, exclusive = false;
  };

  StatusOr<Bound> ReadBound(const Json& schema, const char* inclusive, const char* exclusive, bool lower, const std::string& path) const {
    Bound bound;
    for (const char* keyword : {inclusive, exclusive}) {
      const Json* value = schema.Find(keyword);
      if (value == nullptr) continue;
      if (!value->Is(Kind::kNumber)) return Fail(path + "/" + keyword, "should be a number");
      double number;
      const char* end = value->text.data() + value->text.size();
      if (std::from_chars(value->text.data(), end, number).ec != std::errc()) return Fail(path + "/" + keyword, "is larger or smaller than a double holds");
      const bool tighter = !bound.given || (lower ? number >= bound.value : number <= bound.value);
      if (tighter) bound = {number, true, keyword == exclusive};
    }
    return bound;
  }

  StatusOr<NodeId> Integer(const Json& schema, const std::string& path) {
    HEARTH_ASSIGN_OR_RETURN(const Bound low, ReadBound(schema, "minimum", "exclusiveMinimum", true, path));
    HEARTH_ASSIGN_OR_RETURN(const Bound high, ReadBound(schema, "maximum", "exclusiveMaximum", false, path));
    const double limit = static_cast<double>(kLargestInteger);
    double first = low.given ? std::ceil(low.value) : -limit, last = high.given ? std::floor(high.value) : limit;
    if (low.exclusive && first == low.value) first += 1;
    if (high.exclusive && last == high.value) last -= 1;
    if (first > last || first > limit || last < -limit) return Fail(path, "no integer is within the bounds");
    const int64_t from = static_cast<int64_t>(std::max(first, -limit)), to = static_cast<int64_t>(std::min(last, limit));
    const Json* step = schema.Find("multipleOf");
    if (step == nullptr) return IntegerRange(nodes_, from, to);
    return Multiples(*step, from, to, path);
  }

  StatusOr<NodeId> Multiples(const Json& step, int64_t from, int64_t to, const std::string& path) {
    if (!step.Is(Kind::kNumber) || step.text.find_first_not_of("0123456789") != std::string::npos || step.text.size() > 9 || std::atoll(step.text.c_str()) < 1) {
      return Fail(path + "/multipleOf", "only positive integers are enforced");
    }
    const int64_t n = std::atoll(step.text.c_str());
    if (n == 1) return IntegerRange(nodes_, from, to);
    if ((to - from) / n > kMostMultiples) return Fail(path + "/multipleOf", "needs a minimum and a maximum with at most " + std::to_string(kMostMultiples) + " multiples between");
    std::vector<std::string> texts;
    int64_t value = from / n * n;
    if (value < from) value += n;
    for (; value <= to; value += n) texts.push_back(std::to_string(value));
    if (texts.empty()) return Fail(path, "no multiple of " + step.text + " is within the bounds");
    return nodes_.Literals(std::move(texts));
  }

  // A bound times 10^kMostDecimals, exactly.
  StatusOr<__int128> Scaled(const Json& bound, const std::string& path) const {
    const std::string& text = bound.text;
    const size_t point = std::min(text.find('.'), text.size());
    const size_t decimals = point == text.size() ? 0 : text.size() - point - 1;
    if (text.find_first_of("eE") != std::string::npos || decimals > kMostDecimals || point > 16) {
      return Fail(path, "should be written without exponent, with at most 15 digits before the point and " + std::to_string(kMostDecimals) + " behind it");
    }
    __int128 value = 0;
    for (const char c : text) {
      if (c != '-' && c != '.') value = value * 10 + (c - '0');
    }
    for (size_t i = decimals; i < kMostDecimals; ++i) value *= 10;
    return text[0] == '-' ? -value : value;
  }

  static __int128 FloorDivide(__int128 a, __int128 b) { return a / b - (a % b < 0 ? 1 : 0); }

  // With bounds, every number within them that has at most kMostDecimals decimals and 15 digits.
  StatusOr<NodeId> Number(const Json& schema, const std::string& path) {
    if (schema.Find("multipleOf") != nullptr) return Fail(path + "/multipleOf", "is enforced for integers only");
    HEARTH_ASSIGN_OR_RETURN(const Bound low, ReadBound(schema, "minimum", "exclusiveMinimum", true, path));
    HEARTH_ASSIGN_OR_RETURN(const Bound high, ReadBound(schema, "maximum", "exclusiveMaximum", false, path));
    if (!low.given && !high.given) return AnyNumber(nodes_);
    __int128 unit = 1;
    for (int i = 0; i < kMostDecimals; ++i) unit *= 10;
    // In units of the last decimal, both inclusive.
    __int128 first = -kLargestInteger * unit, last = kLargestInteger * unit;
    for (const auto& [keyword, lower, exclusive] : {std::tuple("minimum", true, 0), {"exclusiveMinimum", true, 1}, {"maximum", false, 0}, {"exclusiveMaximum", false, 1}}) {
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
      if (from <= to) choices.push_back(IntegerRange(nodes_, static_cast<int64_t>(from), static_cast<int64_t>(to), decimals));
    }
    if (choices.empty()) return Fail(path, "no number with at most " + std::to_string(kMostDecimals) + " decimals is within the bounds");
    return nodes_.Choice(std::move(choices));
  }

  StatusOr<NodeId> Array(const Json& schema, const std::string& path, int depth) {
    HEARTH_ASSIGN_OR_RETURN(const int64_t min, Count(schema, "minItems", 0, path));
    HEARTH_ASSIGN_OR_RETURN(const int64_t max, Count(schema, "maxItems", GrammarNode::kUnbounded, path));
    if (max < min) return Fail(path, "maxItems is less than minItems");
    std::vector<NodeId> prefix;
    if (const Json* items = schema.Find("prefixItems")) {
      if (!items->Is(Kind::kArray)) return Fail(path + "/prefixItems", "should be an array");
      for (size_t i = 0; i < items->items.size(); ++i) {
        HEARTH_ASSIGN_OR_RETURN(const NodeId node, Value(items->items[i], path + "/prefixItems/" + std::to_string(i), depth + 1));
        prefix.push_back(node);
      }
    }
    const Json* items = schema.Find("items");
    const bool closed = items != nullptr && items->Is(Kind::kBool) && !items->boolean;
    NodeId item = GrammarNodes::kEmptyNode;
    if (!closed) {
      if (items == nullptr) {
        item = AnyValue();
      } else {
        HEARTH_ASSIGN_OR_RETURN(item, Value(*items, path + "/items", depth + 1));
      }
    }
    if (closed && min > static_cast<int64_t>(prefix.size())) return Fail(path, "minItems is more than the items there may be");

    // From the last position to the first: what may follow item i (`first` position has no comma before it).
    const int64_t count = static_cast<int64_t>(prefix.size());
    const auto with_comma = [&](NodeId node) { return nodes_.Sequence({comma_, node}); };
    NodeId rest = GrammarNodes::kEmptyNode;
    if (!closed && max > count) {
      const int32_t least = static_cast<int32_t>(std::max<int64_t>(0, min - count));
      const int32_t most = max >= GrammarNode::kUnbounded ? GrammarNode::kUnbounded : static_cast<int32_t>(max - count);
      if (count > 0) {
        rest = nodes_.Repeat(with_comma(item), least, most);
      } else {
        const NodeId more = nodes_.Repeat(with_comma(item), std::max(0, least - 1), most == GrammarNode::kUnbounded ? most : most - 1);
        rest = nodes_.Sequence({item, more});
        if (least == 0) rest = nodes_.Optional(rest);
      }
    }
    for (int64_t i = std::min(count, max) - 1; i >= 0; --i) {
      const NodeId one = prefix[static_cast<size_t>(i)];
      rest = nodes_.Sequence({i == 0 ? one : with_comma(one), rest});
      if (i >= min) rest = nodes_.Optional(rest);
    }
    return nodes_.Sequence({nodes_.Byte('['), rest, nodes_.Byte(']')});
  }

  StatusOr<NodeId> Object(const Json& schema, const std::string& path, int depth) {
    const Json* properties = schema.Find("properties");
    const Json* additional = schema.Find("additionalProperties");
    std::vector<std::string> required;
    if (const Json* names = schema.Find("required")) {
      if (!names->Is(Kind::kArray)) return Fail(path + "/required", "should be an array of names");
      for (const Json& name : names->items) {
        if (!name.Is(Kind::kString)) return Fail(path + "/required", "should be an array of names");
        if (properties == nullptr || properties->Find(name.text) == nullptr) return Fail(path + "/required", "\"" + Shown(name.text) + "\" is not declared in properties");
        required.push_back(name.text);
      }
    }
    if (properties != nullptr && !properties->Is(Kind::kObject)) return Fail(path + "/properties", "should be an object");
    const bool closed = additional != nullptr && additional->Is(Kind::kBool) && !additional->boolean;
    if (properties == nullptr && !closed) return MapOf(schema, additional, path, depth);
    if (additional != nullptr && !additional->Is(Kind::kBool)) return Fail(path + "/additionalProperties", "a schema beside \"properties\" is not enforced");
    if (schema.Find("minProperties") != nullptr || schema.Find("maxProperties") != nullptr) return Fail(path, "minProperties and maxProperties are enforced for maps only");

    std::vector<NodeId> members;
    std::vector<bool> needed;
    static const std::vector<std::pair<std::string, Json>> kNone;
    const auto& declared = properties == nullptr ? kNone : properties->members;
    if (declared.size() > kMostBranches) return Fail(path + "/properties", "more than " + std::to_string(kMostBranches) + " are not enforced");
    for (const auto& [name, value] : declared) {
      HEARTH_ASSIGN_OR_RETURN(const NodeId node, Value(value, path + "/properties/" + Shown(name), depth + 1));
      members.push_back(nodes_.Sequence({nodes_.Literal(QuoteJson(name)), colon_, node}));
      needed.push_back(Contains(required, name));
    }
    // From the last member to the first: what may follow when a member has been written before, and when none has.
    NodeId after_some = GrammarNodes::kEmptyNode, after_none = GrammarNodes::kEmptyNode;
    for (size_t i = members.size(); i-- > 0;) {
      const NodeId later = nodes_.Sequence({comma_, members[i], after_some});
      const NodeId first = nodes_.Sequence({members[i], after_some});
      after_none = needed[i] ? first : nodes_.Choice({first, after_none});
      after_some = needed[i] ? later : nodes_.Choice({later, after_some});
    }
    return nodes_.Sequence({nodes_.Byte('{'), after_none, nodes_.Byte('}')});
  }

  StatusOr<NodeId> MapOf(const Json& schema, const Json* additional, const std::string& path, int depth) {
    HEARTH_ASSIGN_OR_RETURN(const int64_t min, Count(schema, "minProperties", 0, path));
    HEARTH_ASSIGN_OR_RETURN(const int64_t max, Count(schema, "maxProperties", GrammarNode::kUnbounded, path));
    if (max < min) return Fail(path, "maxProperties is less than minProperties");
    // Names may repeat, and then fewer are left than were written.
    if (min > 1) return Fail(path, "minProperties of more than 1 is not enforced");
    NodeId value;
    if (additional == nullptr) {
      value = AnyValue();
    } else {
      HEARTH_ASSIGN_OR_RETURN(value, Value(*additional, path + "/additionalProperties", depth + 1));
    }
    const NodeId name = nodes_.Sequence({nodes_.Byte('"'), nodes_.Repeat(strings_.AnyCharacter(), 0, GrammarNode::kUnbounded), nodes_.Byte('"')});
    const NodeId member = nodes_.Sequence({name, colon_, value});
    if (max == 0) return nodes_.Literal("{}");
    const NodeId more = nodes_.Repeat(nodes_.Sequence({comma_, member}), 0, max >= GrammarNode::kUnbounded ? GrammarNode::kUnbounded : static_cast<int32_t>(max - 1));
    NodeId members = nodes_.Sequence({member, more});
    if (min == 0) members = nodes_.Optional(members);
    return nodes_.Sequence({nodes_.Byte('{'), members, nodes_.Byte('}')});
  }

  // Any JSON value; refers to itself.
  NodeId AnyValue() {
    if (any_value_ >= 0) return any_value_;
    any_value_ = nodes_.Rule();
    const NodeId string = nodes_.Sequence({nodes_.Byte('"'), nodes_.Repeat(strings_.AnyCharacter(), 0, GrammarNode::kUnbounded), nodes_.Byte('"')});
    const auto list = [&](char open, NodeId item, char close) {
      const NodeId items = nodes_.Sequence({item, nodes_.Repeat(nodes_.Sequence({comma_, item}), 0, GrammarNode::kUnbounded)});
      return nodes_.Sequence({nodes_.Byte(static_cast<unsigned char>(open)), nodes_.Optional(items), nodes_.Byte(static_cast<unsigned char>(close))});
    };
    nodes_.SetRule(any_value_, nodes_.Choice({nodes_.Literal("null"), nodes_.Literal("true"), nodes_.Literal("false"), AnyNumber(nodes_), string,
                                              list('[', any_value_, ']'), list('{', nodes_.Sequence({string, colon_, any_value_}), '}')}));
    return any_value_;
  }

  const Json& root_;
  GrammarNodes& nodes_;
  StringGrammar strings_;
  NodeId comma_, colon_, any_value_ = -1;
  std::map<std::string, NodeId> rules_;
};

}  // namespace

StatusOr<NodeId> CompileSchema(std::string_view json_schema, GrammarNodes& nodes) {
  HEARTH_ASSIGN_OR_RETURN(const Json schema, ParseJson(json_schema));
  HEARTH_ASSIGN_OR_RETURN(const NodeId root, SchemaCompiler(schema, nodes).Compile());
  if (nodes.full()) return Error(Code::SCHEMA_INVALID, "the schema needs more than %zu grammar nodes", GrammarNodes::kMaxNodes);
  HEARTH_RETURN_IF_ERROR(nodes.Finish(root));
  return root;
}

}  // namespace hearth
