// A session's state: its timeline, its cache, and what samples from it.
#ifndef HEARTH_SESSION_IMPL_H_
#define HEARTH_SESSION_IMPL_H_

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "addon/engine_impl.h"
#include "addon/model/kv_cache.h"
#include "addon/model/slice.h"
#include "addon/session_step_cost.h"
#include "addon/text/drafter.h"
#include "addon/text/grammar.h"
#include "addon/text/sampler.h"

namespace hearth {

struct Session::Impl {
  explicit Impl(std::shared_ptr<Engine::Impl> engine_in)
      : engine(std::move(engine_in)),
        kv(engine->decoder->config(), engine->kv_type, engine->info.context_length),
        slice(Slice::Loaded(engine->decoder->config())),
        text(*engine->tokenizer),
        drafter(*engine->tokenizer, sampled_ids()) {}

  const Config& config() const { return engine->decoder->config(); }
  // Ids of soft tokens are never sampled, nor rows of the embedding that have no piece (and no bit in a grammar's
  // mask).
  int64_t sampled_ids() const { return std::min(config().text_vocab, engine->tokenizer->size()); }
  std::span<const int64_t> kv_widths() const {
    return {slice.ffn_width.data(), static_cast<size_t>(config().kv_layers)};
  }
  bool IsSoft(int32_t id) const;

  static StatusOr<Slice> MakeSlice(const Config& config, const SliceOptions& options);
  // What Append and Resume demand of tokens that go after the first `before` of the timeline.
  Status Check(std::span<const int32_t> added, std::span<const SoftTokens* const> soft, size_t before) const;
  Digest LastLink() const { return chain.empty() ? engine->hash.Start() : chain.back(); }
  // How the chain goes on after `link` with these, checked ones.
  std::vector<Digest> ChainAfter(Digest link, std::span<const int32_t> added,
                                 std::span<const SoftTokens* const> soft) const;
  // The chain of a timeline of which only the ids are known.
  std::vector<Digest> ChainOfUnknown(std::span<const int32_t> restored) const;
  // Puts checked tokens at the end of the timeline, as pending ones. Their soft tokens are those after the first
  // `skipped_rows` of `soft`.
  void Extend(std::span<const int32_t> added, std::span<const SoftTokens* const> soft, int64_t skipped_rows,
              std::span<const Digest> links);
  // Takes off everything from `to` on, computed or pending, and ends the reply.
  void Truncate(int64_t to);
  // Runs the next `count` pending tokens and keeps the scores of the last `wanted`, of which the first are looked at.
  Status Compute(int64_t count, int64_t wanted);
  // Makes logits of estimates.
  void Settle();
  // The next token by the scores that are there.
  StatusOr<int32_t> Choose(const SamplingOptions& options);
  // Puts it at the end of the timeline.
  StatusOr<Sampled> Sample(const SamplingOptions& options);
  float* current_scores() { return scores.data() + score_row * config().vocab; }

  // What Decode is made of (session_decode.cc).
  Status ComputeDraft(std::span<const int32_t> draft);
  void AcceptDraft();

  // Of session_resume.cc:
  void PlanCheckpoints(std::span<const int64_t> wanted, int64_t shared);
  // Where the cache has more of the timeline than is computed, goes on from there.
  void TakeFromCache();
  void CountReused(int64_t positions);
  // Tokens up to the next checkpoint, at most `count`.
  int64_t ToCheckpoint(int64_t count) const;
  void KeepAtCheckpoint();
  // Puts what is computed into the cache, unless that has it but for `slack` positions.
  void Keep(int64_t slack);
  // Of the timeline Resume made, only the first `kept` positions are left: from now on it goes its own way.
  void EndResumed(int64_t kept);

  std::shared_ptr<Engine::Impl> engine;
  KvCache kv;
  Slice slice;
  std::vector<int32_t> ids;   // the whole timeline
  std::vector<Digest> chain;  // one for each of them: of everything up to it (see prefix_cache.h)
  int64_t position = 0;       // how many of them are in the cache
  // For each pending token the row of `soft_rows` that stands for it, or -1.
  std::vector<int64_t> soft_index;
  std::vector<float> soft_rows;
  AlignedBuffer<float> embedding;  // scratch, [chunk, H]
  // What the head says of the last computed token, and of a draft behind it, [1 + draft, vocab]; `score_row` is the row
  // of the timeline's last. Estimates that go with the same row of `head_rows` until someone asks for the logits
  // themselves.
  AlignedBuffer<float> scores;
  Activations head_rows;
  int64_t score_row = 0;
  bool has_logits = false;
  bool estimated = false;  // that row

  // Since Resume; Rewind and Restore end it.
  bool resumed = false;
  bool counted = false;              // as a hit
  bool asked_again = false;          // some of its pictures and sounds were computed before
  int64_t reused = 0;                // positions that needed no computing
  std::vector<int64_t> checkpoints;  // positions still to come, in order

  Sampler sampler;
  std::vector<ScoredToken> candidates;  // scratch of Choose
  std::shared_ptr<const Grammar> grammar;
  std::optional<GrammarState> grammar_state;
  Detokenizer text;
  Drafter drafter;
  StepCost step_cost;
};

}  // namespace hearth

#endif  // HEARTH_SESSION_IMPL_H_
