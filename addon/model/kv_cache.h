// Keys and values of the layers that write them, in F16 (or Q8_0, or F32 for comparisons).
//
// Layers that see everything keep every position; address space for all of them is there from the start, memory as they
// come. Layers with a sliding window keep a ring: the window, and enough before it that a chunk can be computed and a
// few hundred positions taken back. So a context of 32,768 positions of Gemma 3n E2B takes 300 MB in F16, not 1.3 GB.
#ifndef HEARTH_MODEL_KV_CACHE_H_
#define HEARTH_MODEL_KV_CACHE_H_

#include <cstdint>
#include <vector>

#include "addon/base/arena.h"
#include "addon/base/status.h"
#include "addon/model/config.h"
#include "addon/ops/attention.h"

namespace hearth {

class KvCache {
 public:
  // Positions a ring holds beyond the window: a chunk (TextDecoder::kMaxChunk) and as many to take back.
  static constexpr int64_t kRingSlack = 512;
  // Positions that can be taken back after Load: a prompt that ends a little before what was saved, such as the same
  // prompt again, whose last token is computed for its logits.
  static constexpr int64_t kSavedSlack = 32;

  // Up to `max_positions` positions, kept as `type` (F16, Q8_0 or F32).
  KvCache(const Config& config, uint32_t type, int64_t max_positions);

  // Makes room for positions [0, positions). CONTEXT_FULL past max_positions.
  Status Reserve(int64_t positions);

  // Keeps the key and the value of a position, kv_dim values each. Positions are stored in order, after Reserve.
  void Store(const hearth_kernels& kernels, int layer, int64_t position, const float* key, const float* value);

  // Says that `positions` positions are stored in every layer; the rings have forgotten the oldest.
  void Advance(int64_t positions);

  // A layer's rows as attention reads them.
  KvRows rows(int layer) const;

  // The lowest position above 0 from which computing can go on: what a ring has overwritten can't be attended to
  // again. From 0 it always can, after Clear.
  int64_t LowestRewind() const;
  // Everything is to be computed again.
  void Clear() { first_kept_ = 0; }

  // What is needed to go on from `position`, which is computed, or from up to kSavedSlack positions before it:
  // SavedBytes(position) bytes.
  uint64_t SavedBytes(int64_t position) const;
  void Save(int64_t position, uint8_t* out) const;
  Status Load(int64_t position, const uint8_t* saved);
  // What LowestRewind will be where Load gets what Save writes now.
  int64_t LowestRewindOfSaved(int64_t position) const;

  // Bytes held: of all positions there was room made for. And what `positions` positions take.
  uint64_t bytes() const;
  static uint64_t BytesFor(const Config& config, uint32_t type, int64_t positions);

 private:
  struct Layer {
    bool local;
    int64_t capacity;  // positions
    Arena memory;      // empty before the first Reserve
    uint8_t* keys = nullptr;
    uint8_t* values = nullptr;
  };
  int64_t ring() const;
  // First position that Save keeps of the layers with a window. The rings may have forgotten it.
  int64_t SavedFrom(int64_t position) const;

  uint32_t type_;
  int64_t kv_heads_, head_dim_, window_;
  int64_t head_bytes_, row_bytes_;
  int64_t max_positions_;
  int64_t reserved_ = 0;
  int64_t first_kept_ = 0;  // positions below are overwritten in the rings
  std::vector<Layer> layers_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_KV_CACHE_H_
