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
        slice(Slice::Full(engine->decoder->config())),
        text(*engine->tokenizer),
        drafter(*engine->tokenizer, sampled_ids()) {}

  const Config& config() const { return engine->decoder->config(); }
  // Ids of soft tokens are never sampled, nor rows of the embedding that have no piece (and no bit in a grammar's
  // mask).
  int64_t sampled_ids() const { return std::min(config().text_vocab, engine->tokenizer->size()); }

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

  std::shared_ptr<Engine::Impl> engine;
  KvCache kv;
  Slice slice;
  std::vector<int32_t> ids;  // the whole timeline
  int64_t position = 0;      // how many of them are in the cache
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
