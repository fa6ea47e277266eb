#include "addon/text/string_grammar.h"

#include <algorithm>
#include <string>

#include "addon/text/json.h"
#include "addon/text/utf8.h"

namespace hearth {

// Everything but ASCII, as UTF-8 bytes (RFC 3629's table: no overlong forms, no surrogates).
NodeId StringGrammar::NonAscii() {
  if (non_ascii_ >= 0) return non_ascii_;
  const NodeId tail = nodes_.Range(0x80, 0xbf);
  const auto sequence = [&](unsigned char first, unsigned char last, unsigned char low, unsigned char high, int more) {
    std::vector<NodeId> parts = {nodes_.Range(first, last), nodes_.Range(low, high)};
    for (int i = 0; i < more; ++i) parts.push_back(tail);
    return nodes_.Sequence(std::move(parts));
  };
  non_ascii_ = nodes_.Choice({
      sequence(0xc2, 0xdf, 0x80, 0xbf, 0),
      sequence(0xe0, 0xe0, 0xa0, 0xbf, 1),
      sequence(0xe1, 0xec, 0x80, 0xbf, 1),
      sequence(0xed, 0xed, 0x80, 0x9f, 1),
      sequence(0xee, 0xef, 0x80, 0xbf, 1),
      sequence(0xf0, 0xf0, 0x90, 0xbf, 2),
      sequence(0xf1, 0xf3, 0x80, 0xbf, 2),
      sequence(0xf4, 0xf4, 0x80, 0x8f, 2),
  });
  return non_ascii_;
}

NodeId StringGrammar::AnyCharacter() {
  if (any_ >= 0) return any_;
  ByteSet plain, escapes, hex, first_hex, low;
  for (size_t b = 0x20; b < 0x80; ++b) plain.set(b);
  plain.reset('"').reset('\\');
  for (const char c : std::string_view("\"\\/bfnrt")) escapes.set(static_cast<size_t>(c));
  for (const char c : std::string_view("0123456789abcdefABCDEF")) hex.set(static_cast<size_t>(c));
  first_hex = hex;
  first_hex.reset('d').reset('D');
  for (const char c : std::string_view("01234567")) low.set(static_cast<size_t>(c));
  ByteSet d;
  d.set('d').set('D');
  const NodeId digit = nodes_.Bytes(hex);
  // \u escapes of surrogates would have to come in pairs; the characters they stand for come as UTF-8 instead.
  const NodeId unicode = nodes_.Sequence({nodes_.Byte('u'), nodes_.Choice({nodes_.Sequence({nodes_.Bytes(first_hex), digit}), nodes_.Sequence({nodes_.Bytes(d), nodes_.Bytes(low)})}), digit, digit});
  any_ = nodes_.Choice({nodes_.Bytes(plain), nodes_.Sequence({nodes_.Byte('\\'), nodes_.Choice({nodes_.Bytes(escapes), unicode})}), NonAscii()});
  return any_;
}

// Recursive descent over the pattern's characters; builds nodes as it goes.
class PatternParser {
 public:
  PatternParser(StringGrammar& strings, std::string_view pattern) : strings_(strings), nodes_(strings.nodes_), pattern_(pattern) {}

  StatusOr<NodeId> Parse() {
    const bool from_start = Take('^');
    HEARTH_ASSIGN_OR_RETURN(const NodeId body, Alternatives(0));
    const bool to_end = Take('$');
    if (at_ != pattern_.size()) return Fail("unexpected");
    if ((from_start || to_end) && top_level_choice_) return Fail("^ or $ beside a top-level | (put the choice into a group), not");
    const NodeId anything = nodes_.Repeat(strings_.AnyCharacter(), 0, GrammarNode::kUnbounded);
    return nodes_.Sequence({from_start ? GrammarNodes::kEmptyNode : anything, body, to_end ? GrammarNodes::kEmptyNode : anything});
  }

 private:
  // ASCII characters, and whether all others belong too.
  struct Class {
    std::bitset<128> ascii;
    bool others = false;
  };

  static constexpr int kMaxDepth = 32;
  static constexpr int kMaxRepeat = 1000;

  Status Fail(const char* what) const {
    return Error(Code::SCHEMA_INVALID, "pattern \"%s\": %s \"%s\" is not enforced", std::string(pattern_.substr(0, 80)).c_str(), what,
                 std::string(pattern_.substr(std::min(at_, pattern_.size()), 8)).c_str());
  }
  bool More() const { return at_ < pattern_.size(); }
  bool Take(char c) {
    if (!More() || pattern_[at_] != c) return false;
    ++at_;
    return true;
  }

  StatusOr<NodeId> Alternatives(int depth) {
    if (depth > kMaxDepth) return Fail("nesting this deep,");
    std::vector<NodeId> choices;
    do {
      HEARTH_ASSIGN_OR_RETURN(const NodeId choice, Terms(depth));
      choices.push_back(choice);
    } while (Take('|'));
    if (depth == 0 && choices.size() > 1) top_level_choice_ = true;
    return nodes_.Choice(std::move(choices));
  }

  StatusOr<NodeId> Terms(int depth) {
    std::vector<NodeId> parts;
    while (More() && pattern_[at_] != '|' && pattern_[at_] != ')') {
      if (pattern_[at_] == '$' && at_ + 1 == pattern_.size() && depth == 0) break;
      HEARTH_ASSIGN_OR_RETURN(const NodeId atom, Atom(depth));
      HEARTH_ASSIGN_OR_RETURN(const NodeId term, Quantified(atom));
      parts.push_back(term);
    }
    return parts.empty() ? GrammarNodes::kEmptyNode : nodes_.Sequence(std::move(parts));
  }

  StatusOr<NodeId> Atom(int depth) {
    if (nodes_.full()) return Fail("a pattern this large,");
    const char c = pattern_[at_];
    if (c == '(') {
      ++at_;
      if (Take('?') && !Take(':')) return Fail("the group (?");
      HEARTH_ASSIGN_OR_RETURN(const NodeId group, Alternatives(depth + 1));
      if (!Take(')')) return Fail("a missing \")\" before");
      return group;
    }
    if (c == '[') return BracketClass();
    if (c == '.') {
      ++at_;
      Class all;
      all.ascii.set();
      all.ascii.reset('\n').reset('\r');
      all.others = true;
      return Characters(all);
    }
    if (c == '\\') return Escape();
    if (c == '*' || c == '+' || c == '?' || c == '{' || c == '}' || c == '^' || c == '$' || c == ']') return Fail("the bare");
    if (static_cast<unsigned char>(c) >= 0x80) {
      const size_t length = Utf8Length(pattern_.substr(at_));
      at_ += length;
      return nodes_.Literal(pattern_.substr(at_ - length, length));
    }
    ++at_;
    return One(c);
  }

  StatusOr<NodeId> Quantified(NodeId atom) {
    int min = 1, max = 1;
    if (Take('*')) {
      min = 0;
      max = GrammarNode::kUnbounded;
    } else if (Take('+')) {
      max = GrammarNode::kUnbounded;
    } else if (Take('?')) {
      min = 0;
    } else if (Take('{')) {
      if (!Number(&min)) return Fail("the quantifier");
      max = min;
      if (Take(',')) {
        max = GrammarNode::kUnbounded;
        if (More() && pattern_[at_] != '}' && !Number(&max)) return Fail("the quantifier");
      }
      if (!Take('}') || max < min) return Fail("the quantifier");
    } else {
      return atom;
    }
    Take('?');  // laziness changes which match is found, not whether there is one
    return nodes_.Repeat(atom, min, max);
  }

  bool Number(int* value) {
    const size_t begin = at_;
    *value = 0;
    while (More() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
      *value = *value * 10 + (pattern_[at_++] - '0');
      if (*value > kMaxRepeat) return false;
    }
    return at_ > begin;
  }

  // The class an escape such as \d stands for; false when it stands for one character or is not known.
  static bool NamedClass(char c, Class* out) {
    Class set;
    for (int i = 0; i < 128; ++i) {
      const bool digit = i >= '0' && i <= '9';
      const bool word = digit || (i >= 'a' && i <= 'z') || (i >= 'A' && i <= 'Z') || i == '_';
      const bool space = i == ' ' || (i >= '\t' && i <= '\r');
      const bool in = c == 'd' || c == 'D' ? digit : c == 'w' || c == 'W' ? word : space;
      set.ascii[static_cast<size_t>(i)] = in;
    }
    if (c != 'd' && c != 'w' && c != 's' && c != 'D' && c != 'W' && c != 'S') return false;
    if (c == 'D' || c == 'W' || c == 'S') {
      set.ascii.flip();
      set.others = true;
    }
    out->ascii |= set.ascii;
    out->others |= set.others;
    return true;
  }

  // The character after a backslash, for those that stand for themselves or a control character; -1 for others.
  static int EscapedCharacter(char c) {
    static constexpr std::string_view kControls = "tnrfv", kValues = "\t\n\r\f\v";
    if (const size_t index = kControls.find(c); index != std::string_view::npos) return kValues[index];
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alphanumeric || static_cast<unsigned char>(c) >= 0x80 ? -1 : c;
  }

  StatusOr<NodeId> Escape() {
    if (at_ + 1 >= pattern_.size()) return Fail("the backslash at the end,");
    const char c = pattern_[at_ + 1];
    Class set;
    if (NamedClass(c, &set)) {
      at_ += 2;
      return Characters(set);
    }
    const int character = EscapedCharacter(c);
    if (character < 0) return Fail("the escape");
    at_ += 2;
    return One(static_cast<char>(character));
  }

  StatusOr<NodeId> BracketClass() {
    ++at_;
    const bool negated = Take('^');
    Class set;
    while (More() && pattern_[at_] != ']') {
      int first = ClassCharacter(&set);
      if (first == -2) return Fail("in a class,");
      if (first < 0 || !(at_ + 1 < pattern_.size() && pattern_[at_] == '-' && pattern_[at_ + 1] != ']')) {
        if (first >= 0) set.ascii.set(static_cast<size_t>(first));
        continue;
      }
      ++at_;
      Class ignored;
      const int last = ClassCharacter(&ignored);
      if (last < first) return Fail("the range before");
      for (; first <= last; ++first) set.ascii.set(static_cast<size_t>(first));
    }
    if (!Take(']')) return Fail("a missing \"]\" before");
    if (negated) {
      set.ascii.flip();
      set.others = !set.others;
    }
    return Characters(set);
  }

  // One ASCII character of a class; -1 when it was a class such as \d, which is added to `set`; -2 for anything else.
  int ClassCharacter(Class* set) {
    const char c = pattern_[at_];
    if (static_cast<unsigned char>(c) >= 0x80) return -2;
    if (c != '\\') {
      ++at_;
      return c;
    }
    if (at_ + 1 >= pattern_.size()) return -2;
    const char escaped = pattern_[at_ + 1];
    if (NamedClass(escaped, set)) {
      at_ += 2;
      return -1;
    }
    const int character = EscapedCharacter(escaped);
    if (character < 0) return -2;
    at_ += 2;
    return character;
  }

  NodeId One(char c) {
    const std::string quoted = QuoteJson(std::string_view(&c, 1));
    return nodes_.Literal(std::string_view(quoted).substr(1, quoted.size() - 2));
  }

  NodeId Characters(const Class& set) {
    ByteSet plain;
    std::vector<NodeId> choices;
    for (size_t i = 0; i < 128; ++i) {
      if (!set.ascii[i]) continue;
      const std::string quoted = QuoteJson(std::string(1, static_cast<char>(i)));
      if (quoted.size() == 3) {
        plain.set(i);
      } else {
        choices.push_back(One(static_cast<char>(i)));
      }
    }
    if (plain.any()) choices.push_back(nodes_.Bytes(plain));
    if (set.others) choices.push_back(strings_.NonAscii());
    return nodes_.Choice(std::move(choices));
  }

  StringGrammar& strings_;
  GrammarNodes& nodes_;
  std::string_view pattern_;
  size_t at_ = 0;
  bool top_level_choice_ = false;
};

StatusOr<NodeId> StringGrammar::Pattern(std::string_view pattern) {
  if (pattern.size() > 1024) return Error(Code::SCHEMA_INVALID, "a pattern of %zu characters; at most 1024 are enforced", pattern.size());
  return PatternParser(*this, pattern).Parse();
}

}  // namespace hearth
