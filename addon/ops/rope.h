// Rotary position embedding, in the half-split ("NeoX") layout Hugging Face uses: value i pairs with value i + d/2.
#ifndef HEARTH_OPS_ROPE_H_
#define HEARTH_OPS_ROPE_H_

#include <cstdint>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"

namespace hearth {

// The angles of a run of positions: cos and sin, [positions, d/2] each.
class RopeTable {
 public:
  // Positions first .. first + count - 1 with inv_freq_i = base^(-2i/d).
  Status Fill(float base, int64_t head_dim, int64_t first, int64_t count);

  // Rotates one head of row `index` (position first + index) in place.
  void Rotate(int64_t index, float* head) const;

 private:
  int64_t half_ = 0;
  float base_ = 0;
  AlignedBuffer<float> inv_freq_;
  AlignedBuffer<float> cos_sin_;  // [positions, 2, half]
};

}  // namespace hearth

#endif  // HEARTH_OPS_ROPE_H_
