#include "addon/prefix_cache.h"

#include <algorithm>
#include <iterator>

namespace hearth {
namespace {

// Share of the memory up to which brief entries are as good as any other.
constexpr uint64_t kBriefShare = 4;

bool SameWidths(std::span<const int64_t> a, std::span<const int64_t> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

int64_t Length(std::span<const Digest> chain) { return static_cast<int64_t>(chain.size()); }

}  // namespace

int64_t PrefixCache::Shared(std::span<const Digest> a, std::span<const Digest> b) {
  // Chains that differ somewhere differ everywhere after it.
  int64_t low = 0, high = std::min(Length(a), Length(b));
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (a[static_cast<size_t>(middle)] == b[static_cast<size_t>(middle)]) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

PrefixCache::Match PrefixCache::Find(std::span<const int64_t> kv_widths, std::span<const Digest> chain,
                                     int64_t limit) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  Match match;
  for (const Slot& slot : slots_) {
    if (!SameWidths(slot.entry->kv_widths, kv_widths)) continue;
    const int64_t shared = std::min(limit, Shared(slot.entry->chain, chain));
    match.shared = std::max(match.shared, shared);
    if (shared <= match.positions || shared < slot.entry->rewind_floor) continue;
    match.entry = slot.entry;
    match.positions = shared;
  }
  return match;
}

void PrefixCache::Used(const std::shared_ptr<const Entry>& entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto slot = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.entry == entry; });
  if (slot == slots_.end()) return;
  if (slot->kind == Kind::kBrief) brief_bytes_ -= entry->bytes();
  slot->kind = Kind::kLasting;
  slots_.splice(slots_.begin(), slots_, slot);
}

bool PrefixCache::Serves(std::span<const int64_t> kv_widths, std::span<const Digest> chain, int64_t slack) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto slot = slots_.begin(); slot != slots_.end(); ++slot) {
    if (!SameWidths(slot->entry->kv_widths, kv_widths)) continue;
    const int64_t shared = Shared(slot->entry->chain, chain);
    if (shared < slot->entry->rewind_floor || shared + slack < Length(chain)) continue;
    slots_.splice(slots_.begin(), slots_, slot);
    return true;
  }
  return false;
}

void PrefixCache::Insert(std::shared_ptr<const Entry> entry, Kind kind) {
  if (entry->bytes() > max_bytes_) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    const auto next = std::next(slot);
    const Entry& other = *slot->entry;
    const int64_t positions = Length(other.chain);
    if (SameWidths(other.kv_widths, entry->kv_widths) && positions >= entry->rewind_floor &&
        Shared(other.chain, entry->chain) == positions) {
      if (slot->kind == Kind::kLasting) kind = Kind::kLasting;
      Drop(slot);
    }
    slot = next;
  }
  bytes_ += entry->bytes();
  if (kind == Kind::kBrief) brief_bytes_ += entry->bytes();
  slots_.push_front({std::move(entry), kind});
  Evict();
}

PrefixCache::Stats PrefixCache::stats() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {slots_.size(), bytes_, evicted_};
}

void PrefixCache::Drop(Slots::iterator slot) {
  bytes_ -= slot->entry->bytes();
  if (slot->kind == Kind::kBrief) brief_bytes_ -= slot->entry->bytes();
  slots_.erase(slot);
}

void PrefixCache::Evict() {
  while (bytes_ > max_bytes_) {
    // The newest, at the front, stays: it fits by itself. So there is another one.
    auto victim = std::prev(slots_.end());
    if (brief_bytes_ > max_bytes_ / kBriefShare) {
      for (auto slot = victim; slot != slots_.begin(); --slot) {
        if (slot->kind != Kind::kBrief) continue;
        victim = slot;
        break;
      }
    }
    Drop(victim);
    ++evicted_;
  }
}

}  // namespace hearth
