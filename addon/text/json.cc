#include "addon/text/json.h"

#include <cstdint>
#include <unordered_set>

#include "addon/text/utf8.h"

namespace hearth {
namespace {

constexpr size_t kMaxBytes = 256 * 1024;
constexpr int kMaxDepth = 64;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  StatusOr<Json> ParseAll() {
    Json value;
    HEARTH_RETURN_IF_ERROR(ParseValue(0, value));
    SkipSpace();
    if (at_ != text_.size()) return Fail("nothing more");
    return value;
  }

 private:
  Status Fail(const char* expected) const {
    return Error(Code::SCHEMA_INVALID, "the schema is no JSON: %s expected at character %zu", expected, at_);
  }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }

  bool Take(char c) {
    SkipSpace();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool TakeWord(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Status ParseValue(int depth, Json& value) {
    if (depth > kMaxDepth)
      return Error(Code::SCHEMA_INVALID, "the schema is nested more than %d levels deep", kMaxDepth);
    SkipSpace();
    if (at_ >= text_.size()) return Fail("a value");
    switch (text_[at_]) {
      case '{':
        return ParseObject(depth, value);
      case '[':
        return ParseArray(depth, value);
      case '"':
        value.kind = Json::Kind::kString;
        return ParseString(value.text);
      default:
        break;
    }
    if (TakeWord("null")) return Status();
    value.kind = Json::Kind::kBool;
    if (TakeWord("true")) {
      value.boolean = true;
      return Status();
    }
    if (TakeWord("false")) return Status();
    value.kind = Json::Kind::kNumber;
    return ParseNumber(value.text);
  }

  Status ParseObject(int depth, Json& value) {
    value.kind = Json::Kind::kObject;
    ++at_;
    if (Take('}')) return Status();
    std::unordered_set<std::string> seen;
    do {
      SkipSpace();
      std::string name;
      if (at_ >= text_.size() || text_[at_] != '"') return Fail("a member's name");
      HEARTH_RETURN_IF_ERROR(ParseString(name));
      if (!seen.insert(name).second)
        return Error(Code::SCHEMA_INVALID, "the schema names \"%s\" twice in one object", name.substr(0, 80).c_str());
      if (!Take(':')) return Fail("\":\"");
      value.members.emplace_back(std::move(name), Json());
      HEARTH_RETURN_IF_ERROR(ParseValue(depth + 1, value.members.back().second));
    } while (Take(','));
    return Take('}') ? Status() : Fail("\",\" or \"}\"");
  }

  Status ParseArray(int depth, Json& value) {
    value.kind = Json::Kind::kArray;
    ++at_;
    if (Take(']')) return Status();
    do {
      value.items.emplace_back();
      HEARTH_RETURN_IF_ERROR(ParseValue(depth + 1, value.items.back()));
    } while (Take(','));
    return Take(']') ? Status() : Fail("\",\" or \"]\"");
  }

  bool Hex4(uint32_t* code) {
    if (text_.size() - at_ < 4) return false;
    *code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      uint32_t digit;
      if (IsDigit(c))
        digit = static_cast<uint32_t>(c - '0');
      else if (c >= 'a' && c <= 'f')
        digit = static_cast<uint32_t>(c - 'a' + 10);
      else if (c >= 'A' && c <= 'F')
        digit = static_cast<uint32_t>(c - 'A' + 10);
      else
        return false;
      *code = *code * 16 + digit;
    }
    return true;
  }

  Status ParseString(std::string& out) {
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') {
        std::string rest = out;
        if (TakeUtf8(rest, true) != out) return Fail("UTF-8");
        return Status();
      }
      if (static_cast<unsigned char>(c) < 0x20) return Fail("an escape for a control character");
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) break;
      const char escape = text_[at_++];
      static constexpr std::string_view kEscapes = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
      if (const size_t index = kEscapes.find(escape); index != std::string_view::npos) {
        out += kValues[index];
        continue;
      }
      uint32_t code, low;
      if (escape != 'u' || !Hex4(&code)) return Fail("an escape");
      if (code >= 0xd800 && code < 0xdc00) {
        if (!TakeWord("\\u") || !Hex4(&low) || low < 0xdc00 || low > 0xdfff)
          return Fail("the second half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      } else if (code >= 0xdc00 && code < 0xe000) {
        return Fail("the first half of a surrogate pair");
      }
      AppendUtf8(code, out);
    }
    return Fail("the end of a string");
  }

  Status ParseNumber(std::string& out) {
    const size_t begin = at_;
    if (at_ < text_.size() && text_[at_] == '-') ++at_;
    const auto digits = [&] {
      const size_t first = at_;
      while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
      return at_ - first;
    };
    const size_t first_digit = at_;
    const size_t whole = digits();
    if (whole == 0 || (whole > 1 && text_[first_digit] == '0')) {
      at_ = begin;
      return Fail("a value");
    }
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (digits() == 0) return Fail("a digit");
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (digits() == 0) return Fail("a digit");
    }
    out = std::string(text_.substr(begin, at_ - begin));
    return Status();
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Json* Json::Find(std::string_view name) const {
  for (const auto& [key, value] : members) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string QuoteJson(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    static constexpr std::string_view kSpecial = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
    if (const size_t index = kSpecial.find(c); index != std::string_view::npos) {
      out += '\\';
      out += kLetters[index];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      static constexpr char kHex[] = "0123456789abcdef";
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string Json::Dump() const {
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return boolean ? "true" : "false";
    case Kind::kNumber:
      return text;
    case Kind::kString:
      return QuoteJson(text);
    case Kind::kArray: {
      std::string out = "[";
      for (const Json& item : items) out += (out.size() > 1 ? ", " : "") + item.Dump();
      return out + "]";
    }
    case Kind::kObject: {
      std::string out = "{";
      for (const auto& [name, value] : members)
        out += (out.size() > 1 ? ", " : "") + QuoteJson(name) + ": " + value.Dump();
      return out + "}";
    }
  }
  return "null";
}

StatusOr<Json> ParseJson(std::string_view text) {
  if (text.size() > kMaxBytes)
    return Error(Code::SCHEMA_INVALID, "a schema of %zu bytes; at most %zu are read", text.size(), kMaxBytes);
  return Parser(text).ParseAll();
}

}  // namespace hearth
