// Session::Resume and Session::Checkpoint: what of a prompt is computed already, here or in the engine's prefix cache,
// and when what is computed goes there. See prefix_cache.h.
#include <algorithm>

#include "addon/session_impl.h"

namespace hearth {
namespace {

// Positions below which nothing is kept, nor brought in: computing them is as fast.
constexpr int64_t kWorthwhile = 16;

}  // namespace

StatusOr<int64_t> Session::Resume(std::span<const int32_t> ids, std::span<const SoftTokens* const> soft,
                                  const ResumeOptions& options) {
  Impl& s = *impl_;
  Slice slice = s.slice;
  if (options.slice != nullptr) {
    HEARTH_ASSIGN_OR_RETURN(slice, Impl::MakeSlice(s.config(), *options.slice));
  }
  if (ids.empty()) return Error(Code::PROMPT_INVALID, "a prompt of no tokens");
  HEARTH_RETURN_IF_ERROR(s.Check(ids, soft, 0));

  const std::vector<Digest> chain = s.ChainAfter(s.engine->hash.Start(), ids, soft);
  const int64_t limit = static_cast<int64_t>(ids.size()) - 1;
  int64_t own = 0;
  if (slice.SameKv(s.slice, s.config())) {
    own = std::min(limit, PrefixCache::Shared({s.chain.data(), static_cast<size_t>(s.position)}, chain));
  }
  s.slice = std::move(slice);
  const int64_t shared = std::max(own, s.engine->prefix_cache.Find(s.kv_widths(), chain, limit).shared);
  if (own < s.position && own < s.kv.LowestRewind()) own = 0;

  s.Truncate(own);
  s.has_logits = false;
  const auto computed = ids.first(static_cast<size_t>(own));
  const int64_t computed_rows =
      std::count_if(computed.begin(), computed.end(), [&](int32_t id) { return s.IsSoft(id); });
  s.Extend(ids.subspan(computed.size()), soft, computed_rows, std::span(chain).subspan(computed.size()));
  if (s.grammar_state) s.grammar_state->Restart();
  s.resumed = true;
  s.counted = false;
  s.reused = 0;
  ++s.engine->resumes;
  s.CountReused(own);
  s.TakeFromCache();
  s.PlanCheckpoints(options.checkpoints, shared);
  return s.reused;
}

int64_t Session::reused() const { return impl_->reused; }

void Session::Checkpoint() { impl_->Keep(0); }

void Session::Impl::EndResumed(int64_t kept) {
  resumed = false;
  reused = std::min(reused, kept);
  checkpoints.clear();
}

void Session::Impl::CountReused(int64_t positions) {
  reused += positions;
  engine->reused_positions += static_cast<uint64_t>(positions);
  if (!counted && reused >= kWorthwhile) {
    counted = true;
    ++engine->resume_hits;
  }
  asked_again = std::any_of(ids.begin(), ids.begin() + position, [&](int32_t id) { return IsSoft(id); });
}

void Session::Impl::TakeFromCache() {
  const int64_t limit = static_cast<int64_t>(ids.size()) - 1;
  if (!resumed || limit < position + kWorthwhile) return;
  const PrefixCache::Match match = engine->prefix_cache.Find(kv_widths(), chain, limit);
  if (match.positions < position + kWorthwhile) return;
  const PrefixCache::Entry& entry = *match.entry;
  // Where there is no memory for it, it has to be computed; Load makes room before it changes anything.
  const int64_t length = static_cast<int64_t>(entry.chain.size());
  if (!kv.Load(length, entry.kv.data()).ok()) return;
  engine->prefix_cache.Used(match.entry);
  const int64_t gained = match.positions - position;
  soft_index.erase(soft_index.begin(), soft_index.begin() + gained);
  position = match.positions;
  CountReused(gained);
}

// `wanted` and where the prompt leaves what is cached: there a third prompt may leave it, too. Each costs a copy, and a
// chunk that ends early, so they are worth it only at some distance.
void Session::Impl::PlanCheckpoints(std::span<const int64_t> wanted, int64_t shared) {
  if (engine->prefix_cache.max_bytes() == 0) return;
  checkpoints.assign(wanted.begin(), wanted.end());
  checkpoints.push_back(shared);
  std::sort(checkpoints.begin(), checkpoints.end());
  int64_t last = position;
  std::erase_if(checkpoints, [&](int64_t at) {
    if (at < last + kWorthwhile || at > static_cast<int64_t>(ids.size())) return true;
    last = at;
    return false;
  });
}

int64_t Session::Impl::ToCheckpoint(int64_t count) const {
  const auto next = std::upper_bound(checkpoints.begin(), checkpoints.end(), position);
  return next == checkpoints.end() ? count : std::min(count, *next - position);
}

void Session::Impl::KeepAtCheckpoint() {
  if (std::binary_search(checkpoints.begin(), checkpoints.end(), position)) Keep(kWorthwhile - 1);
}

void Session::Impl::Keep(int64_t slack) {
  PrefixCache& cache = engine->prefix_cache;
  const std::span<const Digest> computed(chain.data(), static_cast<size_t>(position));
  if (position < kWorthwhile || kv.SavedBytes(position) > cache.max_bytes()) return;
  if (cache.Serves(kv_widths(), computed, slack)) return;
  const auto entry = std::make_shared<PrefixCache::Entry>();
  if (!entry->kv.Reset(kv.SavedBytes(position)).ok()) return;
  kv.Save(position, entry->kv.data());
  entry->kv_widths.assign(kv_widths().begin(), kv_widths().end());
  entry->chain.assign(computed.begin(), computed.end());
  entry->rewind_floor = kv.LowestRewindOfSaved(position);
  const bool media = std::any_of(ids.begin(), ids.begin() + position, [&](int32_t id) { return IsSoft(id); });
  cache.Insert(entry, media && !asked_again ? PrefixCache::Kind::kBrief : PrefixCache::Kind::kLasting);
}

}  // namespace hearth
