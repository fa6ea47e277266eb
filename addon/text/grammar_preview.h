// Looks ahead in a reply that has a schema, without moving the reply: what a guess may be, and what has to be written.
#ifndef HEARTH_TEXT_GRAMMAR_PREVIEW_H_
#define HEARTH_TEXT_GRAMMAR_PREVIEW_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "addon/text/grammar.h"

namespace hearth {

// Begins where the reply stands. Good until the reply's own state is used.
class GrammarPreview {
 public:
  explicit GrammarPreview(GrammarState& reply) : reply_(reply), at_(reply.current_) {}

  // Whether a token's text may come next.
  bool Fits(int32_t token) { return Run(token) != GrammarAutomaton::kDead; }
  // Goes on past it; false, and nothing moves, where it does not fit.
  bool Accept(int32_t token);

  struct Text {
    std::string bytes;  // may end inside a character
    bool open = false;  // more follows, which a token may begin before this ends
  };
  // What has to be written, up to `most_bytes` of it. Where JSON may have a space or not, the reply is taken to do as
  // it did last.
  Text Forced(size_t most_bytes);

 private:
  GrammarAutomaton::StateId Run(int32_t token);

  GrammarState& reply_;
  GrammarAutomaton::StateId at_;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_GRAMMAR_PREVIEW_H_
