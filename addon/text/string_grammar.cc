#include "addon/text/string_grammar.h"

#include "addon/text/code_points.h"
#include "addon/text/pattern_parser.h"

namespace hearth {
namespace {

ByteSet SetOf(std::string_view characters) {
  ByteSet set;
  for (const char c : characters) set.set(static_cast<unsigned char>(c));
  return set;
}

}  // namespace

NodeId StringGrammar::AnyCharacter() {
  if (any_ >= 0) return any_;
  ByteSet plain;
  for (size_t b = 0x20; b < 0x80; ++b) plain.set(b);
  plain.reset('"').reset('\\');
  const ByteSet hex = SetOf("0123456789abcdefABCDEF");
  const NodeId digit = nodes_.Bytes(hex);
  // \u escapes of surrogates would have to come in pairs; the characters they stand for come as UTF-8 instead.
  const NodeId first_two = nodes_.Choice({
      nodes_.Sequence({nodes_.Bytes(hex & ~SetOf("dD")), digit}),
      nodes_.Sequence({nodes_.Bytes(SetOf("dD")), nodes_.Range('0', '7')}),
  });
  const NodeId unicode = nodes_.Sequence({nodes_.Byte('u'), first_two, digit, digit});
  any_ = nodes_.Choice({
      nodes_.Bytes(plain),
      nodes_.Sequence({nodes_.Byte('\\'), nodes_.Choice({nodes_.Bytes(SetOf("\"\\/bfnrt")), unicode})}),
      CharacterNode(nodes_, CodePointSet({{0x80, 0x10ffff}})),
  });
  return any_;
}

StatusOr<NodeId> StringGrammar::Pattern(std::string_view pattern) {
  const NodeId anything = nodes_.Repeat(AnyCharacter(), 0, GrammarNode::kUnbounded);
  return PatternParser(nodes_, anything, pattern).Parse();
}

}  // namespace hearth
