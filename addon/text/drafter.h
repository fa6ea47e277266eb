// Drafts the next tokens of a reply, for the model to check all at once instead of writing them one by one.
//
// Two sources: what followed the same words before, in the timeline or in earlier replies, and what a schema leaves no
// choice about. Every guess is scored against what the model then wrote, whether it was drafted or not, so a source
// that is wrong falls silent, and is heard again when it would have been right.
#ifndef HEARTH_TEXT_DRAFTER_H_
#define HEARTH_TEXT_DRAFTER_H_

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "addon/text/grammar.h"
#include "addon/text/prompt_lookup.h"
#include "addon/text/tokenizer.h"

namespace hearth {

class Drafter {
 public:
  // Tokens below `sampled_ids` can be sampled; `tokenizer` must outlive it.
  Drafter(const Tokenizer& tokenizer, int64_t sampled_ids);

  // At most `most` tokens that may come after `timeline`, none that ends a reply. `reply` is where a reply with a
  // schema stands, or null. `row_cost` is what checking one token more costs, in steps of one token: a token is drafted
  // while the chance that it and all before it are right is above that.
  std::vector<int32_t> Propose(std::span<const int32_t> timeline, GrammarState* reply, int64_t most, double row_cost);

  // What came after the timeline of the last Propose, as far as it was decided; an end, too.
  void Learn(std::span<const int32_t> tokens);

  // A token of a reply, put behind `timeline`. Replies stay known after their timeline is gone.
  void Remember(std::span<const int32_t> timeline, int32_t token);
  // What comes next belongs to another reply.
  void EndReply() { in_reply_ = false; }

 private:
  // Where a guess comes from. Lookups by the number of tokens that match, without and with a schema.
  static constexpr int kForced = 0, kForcedEnd = 1, kLookUp = 2, kLookUpInSchema = kLookUp + kLongestLookup,
                       kSources = kLookUpInSchema + kLongestLookup;
  struct Guess {
    int32_t token;
    int source;
  };
  // How often a source was right, the latest counting most; starts with what it is expected to be.
  struct Trust {
    double right, asked;
    double chance() const { return right / asked; }
  };

  bool IsText(int32_t token) const;
  // Tokens of what the schema forces, whose text begins where a preview stands.
  void Force(class GrammarPreview& preview, std::deque<Guess>& forced) const;

  const Tokenizer& tokenizer_;
  const int64_t sampled_ids_;
  std::array<Trust, kSources> trust_;
  std::vector<Guess> guesses_;    // of the last Propose: what was drafted, and one more where there was one
  std::vector<int32_t> replies_;  // -1 between two
  std::vector<int32_t> text_;     // scratch: replies, -1, timeline, draft
  bool in_reply_ = false;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_DRAFTER_H_
