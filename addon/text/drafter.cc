#include "addon/text/drafter.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "addon/text/grammar_preview.h"

namespace hearth {
namespace {

constexpr int32_t kGap = -1;
// Tokens of earlier replies that are looked through.
constexpr size_t kMostRemembered = 2048;
// Of text that a schema forces, in bytes: some eight tokens, and what may come of cutting it.
constexpr size_t kMostForced = 64;
// What a source was right about fades to a third in so many guesses, and what it is expected to be counts for so many.
constexpr double kFade = 1 - 1.0 / 32;
constexpr double kPriorWeight = 4;

}  // namespace

// Expected: measured on the nano model's function calls, translations and captions.
Drafter::Drafter(const Tokenizer& tokenizer, int64_t sampled_ids) : tokenizer_(tokenizer), sampled_ids_(sampled_ids) {
  constexpr std::array<double, kSources> kExpected = {0.9, 0.5, 0.1, 0.3, 0.5, 0.6, 0.3, 0.5, 0.6, 0.7};
  for (int i = 0; i < kSources; ++i) trust_[i] = {kExpected[i] * kPriorWeight, kPriorWeight};
}

bool Drafter::IsText(int32_t token) const {
  return token >= 0 && token < sampled_ids_ && !tokenizer_.Bytes(token).empty();
}

void Drafter::Force(GrammarPreview& preview, std::deque<Guess>& forced) const {
  const GrammarPreview::Text text = preview.Forced(kMostForced);
  if (text.bytes.empty()) return;
  const StatusOr<std::vector<int32_t>> tokens = tokenizer_.Encode(text.bytes, false);
  if (!tokens.ok()) return;
  for (const int32_t token : tokens.value()) forced.push_back({token, kForced});
  if (!text.open) return;
  // The last one may reach into what follows.
  if (text.bytes.size() == kMostForced) {
    forced.pop_back();
  } else {
    forced.back().source = kForcedEnd;
  }
}

std::vector<int32_t> Drafter::Propose(std::span<const int32_t> timeline, GrammarState* reply, int64_t most,
                                      double row_cost) {
  guesses_.clear();
  text_ = replies_;
  text_.push_back(kGap);
  text_.insert(text_.end(), timeline.begin(), timeline.end());
  std::optional<GrammarPreview> preview;
  if (reply != nullptr) preview.emplace(*reply);
  std::deque<Guess> forced;
  std::vector<int32_t> draft;
  for (double chance = 1;;) {
    std::optional<Guess> guess;
    if (preview) {
      if (forced.empty()) Force(*preview, forced);
      if (!forced.empty()) guess = forced.front();
    }
    const LookupMatch match =
        LookUp(text_, [&](int32_t token) { return IsText(token) && (!preview || preview->Fits(token)); });
    if (match.length > 0) {
      const int source = (preview ? kLookUpInSchema : kLookUp) + match.length - 1;
      const int32_t token = text_[static_cast<size_t>(match.next)];
      // Where both say the same, it says nothing about lookups where there is a choice.
      if (!guess || (token != guess->token && trust_[source].chance() > trust_[guess->source].chance()))
        guess = {token, source};
    }
    if (!guess) break;
    guesses_.push_back(*guess);
    chance *= trust_[guess->source].chance();
    if (static_cast<int64_t>(draft.size()) >= most || chance <= row_cost) break;
    if (preview && !preview->Accept(guess->token)) break;
    if (!forced.empty() && forced.front().token == guess->token) {
      forced.pop_front();
    } else {
      forced.clear();
    }
    draft.push_back(guess->token);
    text_.push_back(guess->token);
  }
  return draft;
}

void Drafter::Learn(std::span<const int32_t> tokens) {
  for (size_t i = 0; i < std::min(tokens.size(), guesses_.size()); ++i) {
    Trust& trust = trust_[guesses_[i].source];
    const bool right = guesses_[i].token == tokens[i];
    trust.right = trust.right * kFade + right;
    trust.asked = trust.asked * kFade + 1;
    if (!right) break;
  }
  guesses_.clear();
}

void Drafter::Remember(std::span<const int32_t> timeline, int32_t token) {
  if (replies_.size() >= kMostRemembered)
    replies_.erase(replies_.begin(), replies_.begin() + static_cast<std::ptrdiff_t>(kMostRemembered / 2));
  if (!in_reply_) {
    // With a little of what led to it, so that its beginning is found again.
    const size_t lead = std::min<size_t>(kLongestLookup, timeline.size());
    replies_.push_back(kGap);
    replies_.insert(replies_.end(), timeline.end() - static_cast<std::ptrdiff_t>(lead), timeline.end());
    in_reply_ = true;
  }
  replies_.push_back(token);
}

}  // namespace hearth
