#include "addon/text/schema_compiler.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "addon/text/json.h"
#include "addon/text/number_grammar.h"
#include "addon/text/number_schema.h"
#include "addon/text/schema_keywords.h"
#include "addon/text/string_grammar.h"

namespace hearth {
namespace {

using Kind = Json::Kind;

constexpr int kMaxDepth = 100;
// Of an object's properties, and of a choice's schemas: each is a stack of the automaton until they can be told apart.
constexpr size_t kMostBranches = 1024;

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& root, GrammarNodes& nodes) : root_(root), nodes_(nodes), strings_(nodes) {
    comma_ = nodes_.Sequence({nodes_.Byte(','), nodes_.Optional(nodes_.Byte(' '))});
    colon_ = nodes_.Sequence({nodes_.Byte(':'), nodes_.Optional(nodes_.Byte(' '))});
  }

  StatusOr<NodeId> Compile() { return Value(root_, "#", 0); }

 private:
  // Any schema: `true`, `false` or an object.
  StatusOr<NodeId> Value(const Json& schema, const std::string& path, int depth) {
    if (nodes_.full()) return SchemaError(path, "the schema is too large to be enforced");
    if (depth > kMaxDepth) return SchemaError(path, "nested too deeply");
    if (schema.Is(Kind::kBool)) return schema.boolean ? AnyValue() : nodes_.Choice({});
    if (!schema.Is(Kind::kObject)) return SchemaError(path, "a schema should be an object or a boolean");
    for (const auto& [keyword, value] : schema.members) {
      if (!IsKnownKeyword(keyword))
        return SchemaError(path, "the keyword \"" + ShownText(keyword) + "\" is not enforced");
    }
    if (const Json* ref = schema.Find("$ref")) return Reference(schema, *ref, path, depth);
    if (const Json* all = schema.Find("allOf")) return Merged(schema, *all, path, depth);
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (const Json* choices = schema.Find(keyword))
        return Alternatives(schema, *choices, path + "/" + keyword, depth);
    }
    if (const Json* value = schema.Find("const")) return Enumeration(schema, "const", {*value}, path);
    if (const Json* values = schema.Find("enum")) {
      if (!values->Is(Kind::kArray) || values->items.empty())
        return SchemaError(path + "/enum", "should be an array of at least one value");
      return Enumeration(schema, "enum", values->items, path);
    }
    return ByType(schema, path, depth);
  }

  // Beside these keywords only annotations and definitions may stand.
  Status CheckAlone(const Json& schema, std::string_view keyword, const std::string& path) const {
    for (const auto& [other, value] : schema.members) {
      if (other == keyword || other == "$defs" || other == "definitions" || IsAnnotation(other)) continue;
      return SchemaError(path, "\"" + other + "\" beside \"" + std::string(keyword) + "\" is not enforced");
    }
    return Status();
  }

  StatusOr<NodeId> Reference(const Json& schema, const Json& ref, const std::string& path, int depth) {
    HEARTH_RETURN_IF_ERROR(CheckAlone(schema, "$ref", path));
    if (!ref.Is(Kind::kString) || ref.text.empty() || ref.text[0] != '#')
      return SchemaError(path, "a $ref should begin with #: only this document is looked in");
    const auto [it, fresh] = rules_.emplace(ref.text, -1);
    if (!fresh) return it->second;
    const NodeId rule = nodes_.Rule();
    it->second = rule;
    HEARTH_ASSIGN_OR_RETURN(const Json* target, ResolvePointer(root_, ref.text, path));
    HEARTH_ASSIGN_OR_RETURN(const NodeId body, Value(*target, ShownText(ref.text), depth + 1));
    nodes_.SetRule(rule, body);
    return rule;
  }

  StatusOr<NodeId> Alternatives(const Json& schema, const Json& choices, const std::string& path, int depth) {
    HEARTH_RETURN_IF_ERROR(CheckAlone(schema, schema.Find("anyOf") ? "anyOf" : "oneOf", path));
    if (!choices.Is(Kind::kArray) || choices.items.empty())
      return SchemaError(path, "should be an array of at least one schema");
    if (choices.items.size() > kMostBranches)
      return SchemaError(path, "more than " + std::to_string(kMostBranches) + " choices are not enforced");
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
    if (!all.Is(Kind::kArray) || all.items.empty())
      return SchemaError(path + "/allOf", "should be an array of at least one schema");
    if (all.items.size() == 1) return Value(all.items[0], path + "/allOf/0", depth + 1);
    Json merged, properties, required;
    merged.kind = properties.kind = Kind::kObject;
    required.kind = Kind::kArray;
    for (const Json& part : all.items) {
      if (!part.Is(Kind::kObject)) return SchemaError(path + "/allOf", "should hold objects");
      for (const auto& [keyword, value] : part.members) {
        const bool object_type = keyword == "type" && value.Is(Kind::kString) && value.text == "object";
        if (object_type || IsAnnotation(keyword)) continue;
        if (keyword == "properties" && value.Is(Kind::kObject)) {
          for (const auto& member : value.members) {
            if (properties.Find(member.first) != nullptr)
              return SchemaError(path + "/allOf", "\"" + ShownText(member.first) + "\" is declared twice");
            properties.members.push_back(member);
          }
        } else if (keyword == "required" && value.Is(Kind::kArray)) {
          required.items.insert(required.items.end(), value.items.begin(), value.items.end());
        } else {
          return SchemaError(path + "/allOf", "\"" + keyword + "\" in one of several schemas is not enforced");
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
  StatusOr<NodeId> Enumeration(const Json& schema, std::string_view keyword, const std::vector<Json>& values,
                               const std::string& path) {
    for (const auto& [other, value] : schema.members) {
      if (other != keyword && other != "type" && other != "$defs" && other != "definitions" && !IsAnnotation(other)) {
        return SchemaError(path, "\"" + other + "\" beside \"" + std::string(keyword) + "\" is not enforced");
      }
    }
    HEARTH_ASSIGN_OR_RETURN(const std::vector<std::string> types, NamedTypes(schema, path));
    std::vector<std::string> texts;
    for (const Json& value : values) {
      const std::string type = TypeOf(value);
      if (types.empty() || ContainsWord(types, type) || (type == "integer" && ContainsWord(types, "number")))
        texts.push_back(value.Dump());
    }
    if (texts.empty()) return SchemaError(path + "/" + std::string(keyword), "has no value of the type");
    return nodes_.Literals(std::move(texts));
  }

  StatusOr<NodeId> ByType(const Json& schema, const std::string& path, int depth) {
    HEARTH_ASSIGN_OR_RETURN(const std::vector<std::string> types, MeantTypes(schema, path));
    if (types.empty()) return AnyValue();
    std::vector<NodeId> choices;
    for (const std::string& type : types) {
      StatusOr<NodeId> node = type == "null" ? StatusOr<NodeId>(nodes_.Literal("null"))
                              : type == "boolean"
                                  ? StatusOr<NodeId>(nodes_.Choice({nodes_.Literal("true"), nodes_.Literal("false")}))
                              : type == "integer" ? IntegerSchema(schema, path, nodes_)
                              : type == "number"  ? NumberSchema(schema, path, nodes_)
                              : type == "string"  ? String(schema, path)
                              : type == "array"   ? Array(schema, path, depth)
                                                  : Object(schema, path, depth);
      if (!node.ok()) return node.status();
      choices.push_back(*node);
    }
    return nodes_.Choice(std::move(choices));
  }

  StatusOr<NodeId> String(const Json& schema, const std::string& path) {
    HEARTH_ASSIGN_OR_RETURN(const int64_t min, ReadCount(schema, "minLength", 0, path));
    HEARTH_ASSIGN_OR_RETURN(const int64_t max, ReadCount(schema, "maxLength", GrammarNode::kUnbounded, path));
    NodeId inside;
    if (const Json* pattern = schema.Find("pattern")) {
      if (min > 0 || max < GrammarNode::kUnbounded)
        return SchemaError(path, "\"pattern\" together with a length is not enforced");
      if (!pattern->Is(Kind::kString)) return SchemaError(path + "/pattern", "should be a string");
      StatusOr<NodeId> matching = strings_.Pattern(pattern->text);
      if (!matching.ok()) return SchemaError(path + "/pattern", matching.status().message());
      inside = *matching;
    } else {
      if (max < min) return SchemaError(path, "maxLength is less than minLength");
      inside = nodes_.Repeat(strings_.AnyCharacter(), static_cast<int32_t>(min), static_cast<int32_t>(max));
    }
    return nodes_.Sequence({nodes_.Byte('"'), inside, nodes_.Byte('"')});
  }

  StatusOr<NodeId> Array(const Json& schema, const std::string& path, int depth) {
    HEARTH_ASSIGN_OR_RETURN(const int64_t min, ReadCount(schema, "minItems", 0, path));
    HEARTH_ASSIGN_OR_RETURN(const int64_t max, ReadCount(schema, "maxItems", GrammarNode::kUnbounded, path));
    if (max < min) return SchemaError(path, "maxItems is less than minItems");
    std::vector<NodeId> prefix;
    if (const Json* items = schema.Find("prefixItems")) {
      if (!items->Is(Kind::kArray)) return SchemaError(path + "/prefixItems", "should be an array");
      for (size_t i = 0; i < items->items.size(); ++i) {
        HEARTH_ASSIGN_OR_RETURN(const NodeId node,
                                Value(items->items[i], path + "/prefixItems/" + std::to_string(i), depth + 1));
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
    if (closed && min > static_cast<int64_t>(prefix.size()))
      return SchemaError(path, "minItems is more than the items there may be");

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
        const NodeId more =
            nodes_.Repeat(with_comma(item), std::max(0, least - 1), most == GrammarNode::kUnbounded ? most : most - 1);
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
      if (!names->Is(Kind::kArray)) return SchemaError(path + "/required", "should be an array of names");
      for (const Json& name : names->items) {
        if (!name.Is(Kind::kString)) return SchemaError(path + "/required", "should be an array of names");
        if (properties == nullptr || properties->Find(name.text) == nullptr)
          return SchemaError(path + "/required", "\"" + ShownText(name.text) + "\" is not declared in properties");
        required.push_back(name.text);
      }
    }
    if (properties != nullptr && !properties->Is(Kind::kObject))
      return SchemaError(path + "/properties", "should be an object");
    const bool closed = additional != nullptr && additional->Is(Kind::kBool) && !additional->boolean;
    if (properties == nullptr && !closed) return MapOf(schema, additional, path, depth);
    if (additional != nullptr && !additional->Is(Kind::kBool))
      return SchemaError(path + "/additionalProperties", "a schema beside \"properties\" is not enforced");
    if (schema.Find("minProperties") != nullptr || schema.Find("maxProperties") != nullptr)
      return SchemaError(path, "minProperties and maxProperties are enforced for maps only");

    std::vector<NodeId> members;
    std::vector<bool> needed;
    static const std::vector<std::pair<std::string, Json>> kNone;
    const auto& declared = properties == nullptr ? kNone : properties->members;
    if (declared.size() > kMostBranches)
      return SchemaError(path + "/properties", "more than " + std::to_string(kMostBranches) + " are not enforced");
    for (const auto& [name, value] : declared) {
      HEARTH_ASSIGN_OR_RETURN(const NodeId node, Value(value, path + "/properties/" + ShownText(name), depth + 1));
      members.push_back(nodes_.Sequence({nodes_.Literal(QuoteJson(name)), colon_, node}));
      needed.push_back(ContainsWord(required, name));
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
    HEARTH_ASSIGN_OR_RETURN(const int64_t min, ReadCount(schema, "minProperties", 0, path));
    HEARTH_ASSIGN_OR_RETURN(const int64_t max, ReadCount(schema, "maxProperties", GrammarNode::kUnbounded, path));
    if (max < min) return SchemaError(path, "maxProperties is less than minProperties");
    // Names may repeat, and then fewer are left than were written.
    if (min > 1) return SchemaError(path, "minProperties of more than 1 is not enforced");
    NodeId value;
    if (additional == nullptr) {
      value = AnyValue();
    } else {
      HEARTH_ASSIGN_OR_RETURN(value, Value(*additional, path + "/additionalProperties", depth + 1));
    }
    const NodeId name = nodes_.Sequence(
        {nodes_.Byte('"'), nodes_.Repeat(strings_.AnyCharacter(), 0, GrammarNode::kUnbounded), nodes_.Byte('"')});
    const NodeId member = nodes_.Sequence({name, colon_, value});
    if (max == 0) return nodes_.Literal("{}");
    const NodeId more =
        nodes_.Repeat(nodes_.Sequence({comma_, member}), 0,
                      max >= GrammarNode::kUnbounded ? GrammarNode::kUnbounded : static_cast<int32_t>(max - 1));
    NodeId members = nodes_.Sequence({member, more});
    if (min == 0) members = nodes_.Optional(members);
    return nodes_.Sequence({nodes_.Byte('{'), members, nodes_.Byte('}')});
  }

  // Any JSON value; refers to itself.
  NodeId AnyValue() {
    if (any_value_ >= 0) return any_value_;
    any_value_ = nodes_.Rule();
    const NodeId string = nodes_.Sequence(
        {nodes_.Byte('"'), nodes_.Repeat(strings_.AnyCharacter(), 0, GrammarNode::kUnbounded), nodes_.Byte('"')});
    const auto list = [&](char open, NodeId item, char close) {
      const NodeId items =
          nodes_.Sequence({item, nodes_.Repeat(nodes_.Sequence({comma_, item}), 0, GrammarNode::kUnbounded)});
      return nodes_.Sequence({nodes_.Byte(static_cast<unsigned char>(open)), nodes_.Optional(items),
                              nodes_.Byte(static_cast<unsigned char>(close))});
    };
    nodes_.SetRule(any_value_, nodes_.Choice({nodes_.Literal("null"), nodes_.Literal("true"), nodes_.Literal("false"),
                                              AnyNumber(nodes_), string, list('[', any_value_, ']'),
                                              list('{', nodes_.Sequence({string, colon_, any_value_}), '}')}));
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
  if (nodes.full())
    return Error(Code::SCHEMA_INVALID, "the schema needs more than %zu grammar nodes", GrammarNodes::kMaxNodes);
  HEARTH_RETURN_IF_ERROR(nodes.Finish(root));
  return root;
}

}  // namespace hearth
