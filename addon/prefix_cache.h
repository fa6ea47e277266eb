// Keys and values of timelines that were computed before, so that sessions need not compute again what they share:
// system prompts, lists of tools, earlier turns, a picture that is asked about twice.
//
//   timeline  t0 t1 t2 ... tn      chain[i] = hash(chain[i-1], token id, content of its soft-token row)
//   entry     the whole chain of one timeline, and what KvCache::Save made of its end
//
// A chain says two timelines apart at the first position where they differ, so one comparison of the chains gives what
// an entry and a prompt share. An entry is good for any shared length down to its rewind floor, not only for its own.
//
// Memory: bounded in bytes. What goes first is what was used least recently, but entries with pictures or sound in them
// that were never used again ("brief": most frames of a camera) only push each other out once they hold a quarter of
// the memory, so that a busy camera does not cost a chat its history.
//
// Thread-safe. Entries never change, and live on for whoever holds one.
#ifndef HEARTH_PREFIX_CACHE_H_
#define HEARTH_PREFIX_CACHE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/content_hash.h"

namespace hearth {

class PrefixCache {
 public:
  struct Entry {
    std::vector<int64_t> kv_widths;  // FFN widths of the layers that write K and V
    std::vector<Digest> chain;       // one a position
    int64_t rewind_floor = 0;        // KvCache::LowestRewindOfSaved
    AlignedBuffer<uint8_t> kv;       // KvCache::Save at the end of the chain

    uint64_t bytes() const { return sizeof(Entry) + kv_widths.size() * 8 + chain.size() * sizeof(Digest) + kv.size(); }
  };

  struct Match {
    std::shared_ptr<const Entry> entry;  // null: nothing can be used
    int64_t positions = 0;               // what it saves computing
    int64_t shared = 0;                  // the longest that any entry shares, usable or not
  };

  // How long an entry may expect to live; see the top.
  enum class Kind { kBrief, kLasting };

  struct Stats {
    uint64_t entries = 0, bytes = 0, evicted = 0;
  };

  explicit PrefixCache(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  uint64_t max_bytes() const { return max_bytes_; }

  // The entry that saves most of `chain`, at most `limit` positions of it.
  Match Find(std::span<const int64_t> kv_widths, std::span<const Digest> chain, int64_t limit) const;
  // `entry` was used: it is the last to go, and no longer brief.
  void Used(const std::shared_ptr<const Entry>& entry);
  // True when an entry saves all of `chain` but for at most `slack` positions: another one is not worth its memory.
  bool Serves(std::span<const int64_t> kv_widths, std::span<const Digest> chain, int64_t slack);
  // Keeps `entry`, and drops those that it can stand for. One larger than the bound is not kept.
  void Insert(std::shared_ptr<const Entry> entry, Kind kind);

  Stats stats() const;

  // How many positions two chains share.
  static int64_t Shared(std::span<const Digest> a, std::span<const Digest> b);

 private:
  struct Slot {
    std::shared_ptr<const Entry> entry;
    Kind kind;
  };
  using Slots = std::list<Slot>;

  void Drop(Slots::iterator slot);
  void Evict();

  const uint64_t max_bytes_;
  mutable std::mutex mutex_;
  Slots slots_;  // most recently used first
  uint64_t bytes_ = 0, brief_bytes_ = 0, evicted_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_PREFIX_CACHE_H_
