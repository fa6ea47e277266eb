// What the keywords of a JSON Schema say, and errors that name the place in it.
#ifndef HEARTH_TEXT_SCHEMA_KEYWORDS_H_
#define HEARTH_TEXT_SCHEMA_KEYWORDS_H_

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "addon/base/status.h"
#include "addon/text/json.h"

namespace hearth {

// `path`: where in the schema, as a JSON pointer from "#".
Status SchemaError(const std::string& path, const std::string& what);
// As much of a text from the schema as an error shows.
std::string ShownText(const std::string& text);

template <typename List>
bool ContainsWord(const List& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

// A keyword that says nothing about which values fit.
bool IsAnnotation(std::string_view keyword);
// An annotation or a keyword that is enforced.
bool IsKnownKeyword(std::string_view keyword);

// "null", "boolean", "integer", "number", "string", "array" or "object".
std::string TypeOf(const Json& value);
// What "type" names; empty when it is absent.
StatusOr<std::vector<std::string>> NamedTypes(const Json& schema, const std::string& path);
// Without "type", the other keywords tell which type is meant; without any, every value fits and none is named.
StatusOr<std::vector<std::string>> MeantTypes(const Json& schema, const std::string& path);

// A keyword that counts; `otherwise` when it is absent.
StatusOr<int64_t> ReadCount(const Json& schema, const char* keyword, int64_t otherwise, const std::string& path);

// A JSON pointer (RFC 6901) in fragment form, which begins with "#".
StatusOr<const Json*> ResolvePointer(const Json& root, const std::string& pointer, const std::string& path);

}  // namespace hearth

#endif  // HEARTH_TEXT_SCHEMA_KEYWORDS_H_
