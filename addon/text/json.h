// A small bounded JSON parser for schemas, which may come from anyone: members keep their order, numbers their text.
#ifndef HEARTH_TEXT_JSON_H_
#define HEARTH_TEXT_JSON_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "addon/base/status.h"

namespace hearth {

struct Json {
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  std::string text;  // of a number, as it was written; of a string, unescaped UTF-8
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> members;

  bool Is(Kind k) const { return kind == k; }
  // The member of that name; null when there is none or this is no object.
  const Json* Find(std::string_view name) const;
  // As json.dumps writes it: ", " and ": " between, strings as UTF-8 with the escapes JSON demands.
  std::string Dump() const;
};

// A JSON string literal of UTF-8 text.
std::string QuoteJson(std::string_view text);

// SCHEMA_INVALID for text that is no JSON, is over 256 KiB, deeper than 64 levels, or names a member twice.
StatusOr<Json> ParseJson(std::string_view text);

}  // namespace hearth

#endif  // HEARTH_TEXT_JSON_H_
