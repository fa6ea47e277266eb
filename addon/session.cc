#include "addon/session_impl.h"

#include <algorithm>
#include <cstring>

namespace hearth {
namespace {

// Above this many of the largest logits, all of them cost less than picking.
constexpr int64_t kMostScreened = 256;

}  // namespace

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

StatusOr<std::unique_ptr<Session>> Engine::NewSession() {
  auto impl = std::make_unique<Session::Impl>(impl_);
  HEARTH_RETURN_IF_ERROR(impl->embedding.Reset(static_cast<size_t>(TextDecoder::kMaxChunk * impl->config().hidden)));
  HEARTH_RETURN_IF_ERROR(impl->scores.Reset(static_cast<size_t>(impl->config().vocab)));
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

StatusOr<Slice> Session::Impl::MakeSlice(const Config& config, const SliceOptions& options) {
  return options.name.empty() ? Slice::Custom(config, options.ffn_widths, options.skipped_layers)
                              : Slice::Named(config, options.name);
}

Status Session::SetSlice(const SliceOptions& options) {
  const Config& config = impl_->config();
  HEARTH_ASSIGN_OR_RETURN(Slice slice, Impl::MakeSlice(config, options));
  if (impl_->position > 0 && !slice.SameKv(impl_->slice, config)) {
    return Error(Code::SLICE_INVALID,
                 "slice %s changes layers below %d, whose keys and values %lld tokens already have; rewind to 0 first",
                 slice.name.c_str(), config.kv_layers, static_cast<long long>(impl_->position));
  }
  impl_->slice = std::move(slice);
  return Status();
}

const std::string& Session::slice_name() const { return impl_->slice.name; }

bool Session::Impl::IsSoft(int32_t id) const {
  const SpecialTokens& special = engine->info.special;
  return id == special.image_soft_token || id == special.audio_soft_token;
}

Status Session::Impl::Check(std::span<const int32_t> added, std::span<const SoftTokens* const> soft,
                            size_t before) const {
  const int64_t hidden = engine->info.hidden;
  if (before + added.size() > static_cast<size_t>(engine->info.context_length)) {
    return Error(Code::CONTEXT_FULL, "%zu tokens after %zu do not fit a context of %lld", added.size(), before,
                 static_cast<long long>(engine->info.context_length));
  }
  int64_t placeholders = 0, rows = 0;
  for (const int32_t id : added) {
    if (engine->KindOf(id) == Engine::Impl::IdKind::kInvalid) {
      return Error(Code::TOKEN_INVALID, "token %d; the model embeds ids below %lld", id,
                   static_cast<long long>(engine->info.vocab));
    }
    placeholders += IsSoft(id);
  }
  for (const SoftTokens* tokens : soft) {
    if (tokens->rows.size() != static_cast<size_t>(tokens->count * hidden)) {
      return Error(Code::PROMPT_INVALID, "soft tokens of another model: %zu values for %lld rows of %lld",
                   tokens->rows.size(), static_cast<long long>(tokens->count), static_cast<long long>(hidden));
    }
    rows += tokens->count;
  }
  if (placeholders != rows) {
    return Error(Code::PROMPT_INVALID, "%lld soft-token places for %lld soft tokens",
                 static_cast<long long>(placeholders), static_cast<long long>(rows));
  }
  return Status();
}

std::vector<Digest> Session::Impl::ChainAfter(Digest link, std::span<const int32_t> added,
                                              std::span<const SoftTokens* const> soft) const {
  const ContentHash& hash = engine->hash;
  const size_t hidden = static_cast<size_t>(engine->info.hidden);
  std::vector<Digest> links;
  links.reserve(added.size());
  size_t tokens = 0, row = 0;
  for (const int32_t id : added) {
    Digest content;
    if (IsSoft(id)) {
      while (row == static_cast<size_t>(soft[tokens]->count)) ++tokens, row = 0;
      content = hash.Of(ContentKind::kSoftToken, soft[tokens]->rows.data() + row++ * hidden, hidden * sizeof(float));
    }
    link = hash.Next(link, static_cast<uint32_t>(id), content);
    links.push_back(link);
  }
  return links;
}

void Session::Impl::Extend(std::span<const int32_t> added, std::span<const SoftTokens* const> soft,
                           int64_t skipped_rows, std::span<const Digest> links) {
  int64_t next = static_cast<int64_t>(soft_rows.size()) / engine->info.hidden + skipped_rows;
  for (const SoftTokens* tokens : soft) soft_rows.insert(soft_rows.end(), tokens->rows.begin(), tokens->rows.end());
  for (const int32_t id : added) {
    ids.push_back(id);
    soft_index.push_back(IsSoft(id) ? next++ : -1);
  }
  chain.insert(chain.end(), links.begin(), links.end());
}

Status Session::Append(std::span<const int32_t> ids, std::span<const SoftTokens* const> soft) {
  HEARTH_RETURN_IF_ERROR(impl_->Check(ids, soft, impl_->ids.size()));
  impl_->drafter.EndReply();
  impl_->Extend(ids, soft, 0, impl_->ChainAfter(impl_->LastLink(), ids, soft));
  return Status();
}

Status Session::Impl::Compute(int64_t count, int64_t wanted) {
  const int64_t hidden = config().hidden;
  int32_t ple_ids[TextDecoder::kMaxChunk];
  for (int64_t i = 0; i < count; ++i) {
    const int32_t id = ids[position + i];
    float* row = embedding.data() + i * hidden;
    if (soft_index[i] >= 0) {
      std::memcpy(row, soft_rows.data() + soft_index[i] * hidden, static_cast<size_t>(hidden) * sizeof(float));
    } else {
      HEARTH_RETURN_IF_ERROR(engine->EmbedId(id, row));
    }
    ple_ids[i] = id < config().text_vocab ? id : 0;
  }
  has_logits = false;
  HEARTH_RETURN_IF_ERROR(scores.Reserve(static_cast<size_t>(wanted * config().vocab)));
  HEARTH_RETURN_IF_ERROR(engine->decoder->Forward(
      engine->exec, slice, {ConstMatF(embedding.data(), count, hidden), ple_ids, position, wanted}, kv,
      engine->workspace, MatF(scores.data(), wanted, config().vocab), &head_rows));
  position += count;
  score_row = 0;
  has_logits = wanted > 0;
  estimated = has_logits && engine->decoder->head().screens();
  soft_index.erase(soft_index.begin(), soft_index.begin() + count);
  if (soft_index.empty()) soft_rows.clear();
  return Status();
}

StatusOr<int64_t> Session::Advance(int64_t max_tokens) {
  impl_->TakeFromCache();
  while (pending() > 0 && max_tokens > 0) {
    const int64_t count = impl_->ToCheckpoint(std::min({pending(), max_tokens, TextDecoder::kMaxChunk}));
    {
      const std::lock_guard<std::mutex> turn(impl_->engine->compute);
      HEARTH_RETURN_IF_ERROR(impl_->Compute(count, count == pending()));
    }
    impl_->KeepAtCheckpoint();
    max_tokens -= count;
  }
  return pending();
}

void Session::Impl::Settle() {
  if (!estimated) return;
  const std::lock_guard<std::mutex> turn(engine->compute);
  engine->decoder->head().Exact(engine->exec, head_rows, score_row, current_scores());
  estimated = false;
}

StatusOr<int32_t> Session::Impl::Choose(const SamplingOptions& options) {
  const uint64_t* allowed = grammar_state ? grammar_state->Allowed() : nullptr;
  const int64_t needed = Sampler::Needed(options);
  if (estimated && needed > 0 && needed <= kMostScreened) {
    candidates.clear();
    // Another session's turn is not waited for: alone it takes as long as there is to do, which mostly is little.
    const std::unique_lock<std::mutex> turn(engine->compute, std::try_to_lock);
    engine->decoder->head().Largest(engine->kernels, turn ? &engine->exec.pool() : nullptr, head_rows, score_row,
                                    current_scores(), sampled_ids(), allowed, needed, &candidates);
    return sampler.SampleFrom(candidates, options);
  }
  Settle();
  return sampler.Sample(std::span<const float>(current_scores(), static_cast<size_t>(sampled_ids())), options, allowed);
}

StatusOr<Sampled> Session::Sample(const SamplingOptions& options) {
  if (!impl_->has_logits || pending() > 0)
    return Error(Code::PROMPT_INVALID, "there is no computed token to go on from");
  return impl_->Sample(options);
}

StatusOr<Sampled> Session::Impl::Sample(const SamplingOptions& options) {
  HEARTH_ASSIGN_OR_RETURN(const int32_t token, Choose(options));
  const SpecialTokens& special = engine->info.special;
  Sampled sampled;
  sampled.token = token;
  if (token == special.eos || token == special.end_of_turn) {
    sampled.end = true;
    return sampled;
  }
  if (static_cast<int64_t>(ids.size()) >= engine->info.context_length) {
    return Error(Code::CONTEXT_FULL, "the context of %lld tokens is full",
                 static_cast<long long>(engine->info.context_length));
  }
  if (grammar_state) HEARTH_RETURN_IF_ERROR(grammar_state->Accept(token));
  drafter.Remember(ids, token);
  const std::span<const int32_t> added(&token, 1);
  Extend(added, {}, 0, ChainAfter(LastLink(), added, {}));
  sampled.text = text.Feed(token);
  return sampled;
}

std::string Session::FlushText() { return impl_->text.Flush(); }

Status Session::SetGrammar(std::shared_ptr<const Grammar> grammar) {
  if (grammar && impl_->grammar_state && grammar->json_schema() == impl_->grammar->json_schema()) {
    impl_->grammar_state->Restart();
    return Status();
  }
  impl_->grammar = std::move(grammar);
  impl_->grammar_state.reset();
  if (impl_->grammar) impl_->grammar_state.emplace(impl_->grammar);
  return Status();
}

std::span<const float> Session::logits() const {
  if (!impl_->has_logits) return {};
  impl_->Settle();
  return std::span<const float>(impl_->current_scores(), static_cast<size_t>(impl_->config().vocab));
}

int64_t Session::position() const { return impl_->position; }
int64_t Session::pending() const { return static_cast<int64_t>(impl_->ids.size()) - impl_->position; }

Status Session::Rewind(int64_t position) {
  if (position < 0 || position > static_cast<int64_t>(impl_->ids.size())) {
    return Error(Code::OPTION_INVALID, "position %lld of a timeline of %zu tokens", static_cast<long long>(position),
                 impl_->ids.size());
  }
  if (position > 0 && position < impl_->position && position < impl_->kv.LowestRewind()) {
    return Error(Code::OPTION_INVALID,
                 "position %lld is no longer there: of %lld, those from %lld on can be gone back to",
                 static_cast<long long>(position), static_cast<long long>(impl_->position),
                 static_cast<long long>(impl_->kv.LowestRewind()));
  }
  impl_->Truncate(position);
  return Status();
}

void Session::Impl::Truncate(int64_t to) {
  sampler.Restart();
  text.Reset();
  drafter.EndReply();
  ids.resize(static_cast<size_t>(to));
  chain.resize(static_cast<size_t>(to));
  soft_index.resize(static_cast<size_t>(std::max<int64_t>(0, to - position)));
  if (soft_index.empty()) soft_rows.clear();
  if (to < position) {
    position = to;
    has_logits = false;
  }
  if (to == 0) kv.Clear();
  EndResumed(to);
}

int64_t Session::LowestRewind() const { return impl_->kv.LowestRewind(); }

uint64_t Session::kv_bytes() const { return impl_->kv.bytes(); }

}  // namespace hearth
