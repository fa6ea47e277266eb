#include "addon/text/pattern_parser.h"

#include <algorithm>
#include <vector>

#include "addon/text/string_grammar.h"
#include "addon/text/utf8.h"

namespace hearth {
namespace {

constexpr size_t kMaxBytes = 1024;
constexpr int kMaxDepth = 32;
constexpr int kMaxCount = 4096;

// `.` in ECMA-262: all but a LineTerminator.
CodePointSet AllInLine() { return CodePointSet({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}).Complement(); }

// What \d, \w and \s mean in ECMA-262; false for another letter.
bool NamedClass(char letter, CodePointSet* out) {
  switch (letter | 0x20) {
    case 'd':
      *out = CodePointSet({{'0', '9'}});
      break;
    case 'w':
      *out = CodePointSet({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
      break;
    case 's':
      *out = CodePointSet({{'\t', '\r'},
                           {' ', ' '},
                           {0xa0, 0xa0},
                           {0x1680, 0x1680},
                           {0x2000, 0x200a},
                           {0x2028, 0x2029},
                           {0x202f, 0x202f},
                           {0x205f, 0x205f},
                           {0x3000, 0x3000},
                           {0xfeff, 0xfeff}});
      break;
    default:
      return false;
  }
  if (letter >= 'A' && letter <= 'Z') *out = out->Complement();
  return true;
}

bool IsAlphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string TooMany(int64_t places) {
  return "repeats that make " + std::to_string(places) + " places, where " +
         std::to_string(StringGrammar::kMaxPatternPlaces) + " can be told apart";
}

}  // namespace

StatusOr<NodeId> PatternParser::Parse() {
  if (pattern_.size() > kMaxBytes) {
    return Error(Code::SCHEMA_INVALID, "a pattern of %zu bytes; at most %zu are enforced", pattern_.size(), kMaxBytes);
  }
  const bool from_start = Take('^');
  HEARTH_ASSIGN_OR_RETURN(const Part body, Alternatives(0));
  const bool to_end = Take('$');
  if (More()) return Fail("unexpected");
  if (body.places > StringGrammar::kMaxPatternPlaces) return Fail(TooMany(body.places) + ", before");
  if ((from_start || to_end) && top_level_choice_)
    return Fail("^ or $ beside a top-level | (put the choice into a group)");
  return nodes_.Sequence(
      {from_start ? GrammarNodes::kEmptyNode : anything_, body.node, to_end ? GrammarNodes::kEmptyNode : anything_});
}

Status PatternParser::Fail(const std::string& what) const {
  std::string shown(pattern_.substr(0, 80)), rest(pattern_.substr(std::min(at_, pattern_.size()), 8));
  return Error(Code::SCHEMA_INVALID, "in the pattern \"%s\": %s \"%s\" is not enforced", TakeUtf8(shown, true).c_str(),
               what.c_str(), TakeUtf8(rest, true).c_str());
}

bool PatternParser::Take(char c) {
  if (!More() || pattern_[at_] != c) return false;
  ++at_;
  return true;
}

StatusOr<PatternParser::Part> PatternParser::Alternatives(int depth) {
  if (depth > kMaxDepth) return Fail("nesting this deep,");
  std::vector<NodeId> choices;
  int64_t places = 0;
  do {
    HEARTH_ASSIGN_OR_RETURN(const Part choice, Terms(depth));
    choices.push_back(choice.node);
    places += choice.places;
  } while (Take('|'));
  if (depth == 0 && choices.size() > 1) top_level_choice_ = true;
  return Part{nodes_.Choice(std::move(choices)), places};
}

StatusOr<PatternParser::Part> PatternParser::Terms(int depth) {
  std::vector<NodeId> parts;
  int64_t places = 0;
  while (More() && pattern_[at_] != '|' && pattern_[at_] != ')') {
    if (pattern_[at_] == '$' && at_ + 1 == pattern_.size() && depth == 0) break;
    HEARTH_ASSIGN_OR_RETURN(const Part atom, Atom(depth));
    HEARTH_ASSIGN_OR_RETURN(const Part term, Quantified(atom));
    parts.push_back(term.node);
    places += term.places;
  }
  return Part{parts.empty() ? GrammarNodes::kEmptyNode : nodes_.Sequence(std::move(parts)), places};
}

StatusOr<PatternParser::Part> PatternParser::Atom(int depth) {
  if (nodes_.full()) return Fail("a pattern this large,");
  const char c = pattern_[at_];
  if (std::string_view("*+?{}^$]").find(c) != std::string_view::npos) return Fail("the bare");
  if (c == '(') {
    ++at_;
    if (Take('?') && !Take(':')) return Fail("the group (?");
    HEARTH_ASSIGN_OR_RETURN(const Part group, Alternatives(depth + 1));
    if (!Take(')')) return Fail("a missing \")\" before");
    return group;
  }
  if (c == '[') {
    HEARTH_ASSIGN_OR_RETURN(const CodePointSet set, BracketClass());
    return Character(set);
  }
  if (Take('.')) return Character(AllInLine());
  CodePointSet set;
  uint32_t character;
  bool single;
  HEARTH_RETURN_IF_ERROR(Element(&set, &character, &single));
  return Character(set);
}

PatternParser::Part PatternParser::Character(const CodePointSet& set) {
  const NodeId node = CharacterNode(nodes_, set);
  return {node, std::max<int64_t>(1, static_cast<int64_t>(nodes_.node(node).children.size()))};
}

StatusOr<PatternParser::Part> PatternParser::Quantified(const Part& atom) {
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
  const int64_t places = atom.places * std::max(1, max == GrammarNode::kUnbounded ? min : max);
  if (places > StringGrammar::kMaxPatternPlaces) return Fail(TooMany(places) + ", before");
  return Part{nodes_.Repeat(atom.node, min, max), places};
}

bool PatternParser::Number(int* value) {
  const size_t begin = at_;
  *value = 0;
  while (More() && pattern_[at_] >= '0' && pattern_[at_] <= '9') {
    *value = *value * 10 + (pattern_[at_++] - '0');
    if (*value > kMaxCount) return false;
  }
  return at_ > begin;
}

StatusOr<CodePointSet> PatternParser::BracketClass() {
  ++at_;
  const bool negated = Take('^');
  CodePointSet set;
  while (More() && pattern_[at_] != ']') {
    CodePointSet element;
    uint32_t first, last;
    bool single;
    HEARTH_RETURN_IF_ERROR(Element(&element, &first, &single));
    const bool range = at_ + 1 < pattern_.size() && pattern_[at_] == '-' && pattern_[at_ + 1] != ']';
    if (!range) {
      set.Add(element);
      continue;
    }
    ++at_;
    const bool from_one = single;
    HEARTH_RETURN_IF_ERROR(Element(&element, &last, &single));
    if (!from_one || !single || last < first) return Fail("the range before");
    set.Add(first, last);
  }
  if (!Take(']')) return Fail("a missing \"]\" before");
  return negated ? set.Complement() : set;
}

Status PatternParser::Element(CodePointSet* out, uint32_t* character, bool* single) {
  *single = true;
  if (pattern_[at_] != '\\') {
    const size_t length = Utf8Length(pattern_.substr(at_));
    *character = DecodeUtf8(pattern_.substr(at_, length));
    at_ += length;
  } else {
    if (at_ + 1 >= pattern_.size()) return Fail("the backslash at the end,");
    const char escape = pattern_[at_ + 1];
    if (NamedClass(escape, out)) {
      at_ += 2;
      *single = false;
      return Status();
    }
    static constexpr std::string_view kLetters = "tnrfv", kControls = "\t\n\r\f\v";
    if (const size_t index = kLetters.find(escape); index != std::string_view::npos) {
      *character = static_cast<unsigned char>(kControls[index]);
    } else if (escape == 'x' || escape == 'u') {
      const size_t digits = escape == 'x' ? 2 : 4;
      if (!Hex(digits, character) || (*character >= 0xd800 && *character <= 0xdfff)) return Fail("the escape");
      at_ += digits;
    } else if (IsAlphanumeric(escape) || static_cast<unsigned char>(escape) >= 0x80) {
      return Fail("the escape");
    } else {
      *character = static_cast<unsigned char>(escape);
    }
    at_ += 2;
  }
  *out = CodePointSet({{*character, *character}});
  return Status();
}

// The digits after a backslash and a letter.
bool PatternParser::Hex(size_t digits, uint32_t* value) {
  const std::string_view text = pattern_.substr(at_ + 2, digits);
  *value = 0;
  for (const char c : text) {
    const size_t digit =
        std::string_view("0123456789abcdef").find(static_cast<char>(c >= 'A' && c <= 'F' ? c | 0x20 : c));
    if (digit == std::string_view::npos) return false;
    *value = *value * 16 + static_cast<uint32_t>(digit);
  }
  return text.size() == digits;
}

}  // namespace hearth
