// A session's state: its timeline, its cache, and what samples from it.
#ifndef HEARTH_SESSION_IMPL_H_
#define HEARTH_SESSION_IMPL_H_

#include <memory>
#include <optional>
#include <vector>

#include "addon/engine_impl.h"
#include "addon/model/kv_cache.h"
#include "addon/model/slice.h"
#include "addon/text/grammar.h"
#include "addon/text/sampler.h"

namespace hearth {

struct Session::Impl {
  explicit Impl(std::shared_ptr<Engine::Impl> engine_in)
      : engine(std::move(engine_in)),
        kv(engine->decoder->config(), engine->kv_type, engine->info.context_length),
        slice(Slice::Full(engine->decoder->config())),
        text(*engine->tokenizer) {}

  const Config& config() const { return engine->decoder->config(); }
  // Runs the next `count` pending tokens; with the last of them come the scores.
  Status Compute(int64_t count);
  // Makes logits of estimates.
  Status Settle();
  // The next token by the scores that are there.
  StatusOr<int32_t> Choose(const SamplingOptions& options);

  std::shared_ptr<Engine::Impl> engine;
  KvCache kv;
  Slice slice;
  std::vector<int32_t> ids;  // the whole timeline
  int64_t position = 0;      // how many of them are in the cache
  // For each pending token the row of `soft_rows` that stands for it, or -1.
  std::vector<int64_t> soft_index;
  std::vector<float> soft_rows;
  AlignedBuffer<float> embedding;  // scratch, [chunk, H]
  // What the head says of the last computed token, [vocab]: estimates that go with `head_row` until someone asks for
  // the logits themselves.
  AlignedBuffer<float> scores;
  Activations head_row;
  bool has_logits = false;
  bool estimated = false;

  Sampler sampler;
  std::vector<ScoredToken> candidates;  // scratch of Choose
  std::shared_ptr<const Grammar> grammar;
  std::optional<GrammarState> grammar_state;
  Detokenizer text;
};

}  // namespace hearth

#endif  // HEARTH_SESSION_IMPL_H_
