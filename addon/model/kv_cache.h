// Keys and values of the layers that write them. Grows with the conversation; positions are contiguous from 0.
#ifndef HEARTH_MODEL_KV_CACHE_H_
#define HEARTH_MODEL_KV_CACHE_H_

#include <cstdint>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"

namespace hearth {

class KvCache {
 public:
  // `layers` layers of `kv_dim` values (all key/value heads of a position), up to `max_positions` positions.
  KvCache(int layers, int64_t kv_dim, int64_t max_positions)
      : layers_(layers), kv_dim_(kv_dim), max_positions_(max_positions) {}

  // Makes room for `positions` positions, keeping the first `used`. CONTEXT_FULL past max_positions.
  Status Reserve(int64_t positions, int64_t used);

  // [positions, kv_dim]; keys are normalised and rotated, values normalised.
  MatF keys(int layer) { return MatF(storage_.data() + (2 * layer) * capacity_ * kv_dim_, capacity_, kv_dim_); }
  MatF values(int layer) { return MatF(storage_.data() + (2 * layer + 1) * capacity_ * kv_dim_, capacity_, kv_dim_); }

  int layers() const { return layers_; }
  int64_t kv_dim() const { return kv_dim_; }
  int64_t max_positions() const { return max_positions_; }
  uint64_t bytes() const { return storage_.size() * sizeof(float); }

 private:
  int layers_;
  int64_t kv_dim_;
  int64_t max_positions_;
  int64_t capacity_ = 0;
  AlignedBuffer<float> storage_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_KV_CACHE_H_
