#include "addon/text/schema_keywords.h"

#include <cstdlib>
#include <utility>

#include "addon/text/utf8.h"

namespace hearth {
namespace {

using Kind = Json::Kind;

constexpr std::string_view kAnnotations[] = {"title", "description", "default",    "examples", "$schema",
                                             "$id",   "$comment",    "deprecated", "readOnly", "writeOnly"};
constexpr std::string_view kKnown[] = {"type",
                                       "enum",
                                       "const",
                                       "anyOf",
                                       "oneOf",
                                       "allOf",
                                       "$ref",
                                       "$defs",
                                       "definitions",
                                       "properties",
                                       "required",
                                       "additionalProperties",
                                       "items",
                                       "prefixItems",
                                       "minItems",
                                       "maxItems",
                                       "minLength",
                                       "maxLength",
                                       "pattern",
                                       "minimum",
                                       "maximum",
                                       "exclusiveMinimum",
                                       "exclusiveMaximum",
                                       "multipleOf",
                                       "minProperties",
                                       "maxProperties"};
constexpr std::string_view kTypes[] = {"null", "boolean", "integer", "number", "string", "array", "object"};

constexpr int64_t kLargestCount = 1 << 20;

}  // namespace

Status SchemaError(const std::string& path, const std::string& what) {
  return Error(Code::SCHEMA_INVALID, "schema at %s: %s", path.c_str(), what.c_str());
}

std::string ShownText(const std::string& text) {
  std::string start = text.substr(0, 80);
  return TakeUtf8(start, true);
}

bool IsAnnotation(std::string_view keyword) { return ContainsWord(kAnnotations, keyword); }

bool IsKnownKeyword(std::string_view keyword) { return IsAnnotation(keyword) || ContainsWord(kKnown, keyword); }

std::string TypeOf(const Json& value) {
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

StatusOr<std::vector<std::string>> NamedTypes(const Json& schema, const std::string& path) {
  const Json* type = schema.Find("type");
  std::vector<std::string> names;
  if (type == nullptr) return names;
  const std::vector<Json> listed = type->Is(Kind::kArray) ? type->items : std::vector<Json>{*type};
  for (const Json& name : listed) {
    if (!name.Is(Kind::kString) || !ContainsWord(kTypes, name.text))
      return SchemaError(path + "/type", "should be a JSON type or an array of them");
    names.push_back(name.text);
  }
  if (names.empty()) return SchemaError(path + "/type", "names no type");
  return names;
}

StatusOr<std::vector<std::string>> MeantTypes(const Json& schema, const std::string& path) {
  HEARTH_ASSIGN_OR_RETURN(std::vector<std::string> types, NamedTypes(schema, path));
  if (!types.empty()) return types;
  static constexpr std::pair<std::string_view, std::string_view> kHints[] = {
      {"properties", "object"},       {"required", "object"},      {"additionalProperties", "object"},
      {"minProperties", "object"},    {"maxProperties", "object"}, {"items", "array"},
      {"prefixItems", "array"},       {"minItems", "array"},       {"maxItems", "array"},
      {"minLength", "string"},        {"maxLength", "string"},     {"pattern", "string"},
      {"minimum", "number"},          {"maximum", "number"},       {"exclusiveMinimum", "number"},
      {"exclusiveMaximum", "number"}, {"multipleOf", "number"}};
  for (const auto& [keyword, type] : kHints) {
    if (schema.Find(keyword) != nullptr && !ContainsWord(types, type)) types.emplace_back(type);
  }
  return types;
}

StatusOr<int64_t> ReadCount(const Json& schema, const char* keyword, int64_t otherwise, const std::string& path) {
  const Json* value = schema.Find(keyword);
  if (value == nullptr) return otherwise;
  if (!value->Is(Kind::kNumber) || value->text.find_first_not_of("0123456789") != std::string::npos ||
      value->text.size() > 7) {
    return SchemaError(path + "/" + keyword, "should be a count up to " + std::to_string(kLargestCount));
  }
  return std::min<int64_t>(std::atoll(value->text.c_str()), kLargestCount);
}

StatusOr<const Json*> ResolvePointer(const Json& root, const std::string& pointer, const std::string& path) {
  const Json* at = &root;
  size_t from = 1;
  while (from < pointer.size()) {
    if (pointer[from] != '/') return SchemaError(path, "the $ref " + ShownText(pointer) + " is no JSON pointer");
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
    if (next == nullptr && at->Is(Kind::kArray) && !token.empty() && token.size() < 6 &&
        token.find_first_not_of("0123456789") == std::string::npos) {
      const size_t index = static_cast<size_t>(std::atoi(token.c_str()));
      if (index < at->items.size()) next = &at->items[index];
    }
    if (next == nullptr) return SchemaError(path, "the $ref " + ShownText(pointer) + " leads nowhere");
    at = next;
    from = to;
  }
  return at;
}

}  // namespace hearth
