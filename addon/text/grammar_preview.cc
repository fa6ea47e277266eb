#include "addon/text/grammar_preview.h"

namespace hearth {

GrammarAutomaton::StateId GrammarPreview::Run(int32_t token) {
  const std::string_view bytes = reply_.grammar_->trie().Bytes(token);
  return bytes.empty() ? GrammarAutomaton::kDead : reply_.automaton_.Run(at_, bytes);
}

bool GrammarPreview::Accept(int32_t token) {
  const GrammarAutomaton::StateId to = Run(token);
  if (to == GrammarAutomaton::kDead) return false;
  at_ = to;
  return true;
}

GrammarPreview::Text GrammarPreview::Forced(size_t most_bytes) {
  GrammarAutomaton& automaton = reply_.automaton_;
  Text text;
  GrammarAutomaton::StateId at = at_;
  while (!automaton.complete(at)) {
    ByteSet next = automaton.Next(at);
    if (automaton.SpaceIsOptional(at)) {
      if (reply_.spaces_) {
        next.reset().set(' ');
      } else {
        next.reset(' ');
      }
    }
    if (next.count() != 1 || text.bytes.size() == most_bytes) break;
    size_t byte = 0;
    while (!next[byte]) ++byte;
    at = automaton.Step(at, static_cast<unsigned char>(byte));
    text.bytes += static_cast<char>(byte);
  }
  text.open = !automaton.complete(at);
  return text;
}

}  // namespace hearth
