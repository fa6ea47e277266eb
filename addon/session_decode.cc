// Decoding with drafts: the token in hand and what probably follows are computed together, the weights are read once,
// and of the draft stays what sampling gives anyway. Every token is sampled, in order, from its own logits, by the same
// sampler and grammar as always; and up to kAlikeTokens computed together are computed as each alone (ops/exec.h). So
// nothing depends on what was drafted but the time it takes.
#include <algorithm>
#include <chrono>

#include "addon/ops/exec.h"
#include "addon/session_impl.h"

namespace hearth {

static_assert(Session::kMaxDraft + 1 <= kAlikeTokens);

StatusOr<Decoded> Session::Decode(const SamplingOptions& sampling, int64_t max_tokens, const DraftOptions& options) {
  if (max_tokens < 1 || options.max_tokens < 0 || options.max_tokens > kMaxDraft || !(options.row_cost >= 0)) {
    return Error(Code::OPTION_INVALID,
                 "%lld tokens with drafts of %d at a cost of %g: expected 1 or more, 0 to %d, 0 or more",
                 static_cast<long long>(max_tokens), options.max_tokens, options.row_cost, kMaxDraft);
  }
  if (pending() > 1) HEARTH_RETURN_IF_ERROR(Advance(pending() - 1).status());
  Decoded decoded;
  if (pending() == 0) {
    HEARTH_ASSIGN_OR_RETURN(Sampled first, Sample(sampling));
    decoded.sampled.push_back(std::move(first));
    return decoded;
  }

  Impl& impl = *impl_;
  const int64_t room = impl.engine->info.context_length - static_cast<int64_t>(impl.ids.size());
  // One token is sampled after all that are drafted.
  const int64_t most = std::min({int64_t{options.max_tokens}, max_tokens - 1, room - 1});
  std::vector<int32_t> draft;
  if (options.max_tokens > 0) {
    draft = impl.drafter.Propose(impl.ids, impl.grammar_state ? &*impl.grammar_state : nullptr, most,
                                 options.row_cost > 0 ? options.row_cost : impl.step_cost.more());
  }
  HEARTH_RETURN_IF_ERROR(impl.ComputeDraft(draft));
  decoded.drafted = static_cast<int64_t>(draft.size());

  std::vector<int32_t> tokens;
  Status status;
  for (;; ++decoded.accepted) {
    StatusOr<Sampled> sampled = impl.Sample(sampling);
    if (!sampled.ok()) {
      // After some tokens it is the next call's to report, which finds the same logits.
      if (decoded.sampled.empty()) status = sampled.status();
      break;
    }
    const bool more = !sampled.value().end && decoded.accepted < decoded.drafted &&
                      sampled.value().token == draft[static_cast<size_t>(decoded.accepted)];
    tokens.push_back(sampled.value().token);
    decoded.sampled.push_back(std::move(*sampled));
    if (!more) break;
    impl.AcceptDraft();
  }
  impl.drafter.Learn(tokens);
  if (!status.ok()) return status;
  return decoded;
}

// Runs the pending token and the draft behind it, with scores of each; then only that token counts as computed, and the
// draft's keys and values lie beyond the end of the timeline.
Status Session::Impl::ComputeDraft(std::span<const int32_t> draft) {
  const int64_t rows = 1 + static_cast<int64_t>(draft.size());
  const size_t before = ids.size();
  ids.insert(ids.end(), draft.begin(), draft.end());
  soft_index.resize(soft_index.size() + draft.size(), -1);
  Status status;
  {
    const std::lock_guard<std::mutex> turn(engine->compute);
    const auto start = std::chrono::steady_clock::now();
    status = Compute(rows, rows);
    step_cost.Add(rows, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  ids.resize(before);
  if (!status.ok()) {
    soft_index.resize(1);
    return status;
  }
  position -= rows - 1;
  return status;
}

// The token that was sampled last is the drafted one: its keys and values are where they belong, its scores in the next
// row.
void Session::Impl::AcceptDraft() {
  ++position;
  soft_index.clear();
  ++score_row;
  estimated = engine->decoder->head().screens();
}

}  // namespace hearth
