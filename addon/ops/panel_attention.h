// Attention of every pixel over all pixels in 8 bits, with one key and value head for all query heads: keys, and values
// with the positions along their rows, are put into panels and multiplied like weights, a tile of queries at a time.
#ifndef HEARTH_OPS_PANEL_ATTENTION_H_
#define HEARTH_OPS_PANEL_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/ops/activations.h"
#include "addon/ops/exec.h"
#include "addon/ops/pixel_tiles.h"
#include "addon/ops/weight.h"

namespace hearth {

class PanelAttention {
 public:
  // k: [positions, key_dim], v: [positions, value_dim]; both widths are multiples of 32. OUT_OF_MEMORY.
  Status Prepare(Exec& exec, ConstMatF k, ConstMatF v);

  // Makes room in every thread of `tiles`, which has its threads already.
  Status Reserve(Exec& exec, PixelTiles& tiles) const;

  // out = softmax(q k^T / sqrt(key_dim)) v for q: [any number, key_dim], all heads of a pixel as consecutive rows.
  // out: [as many, value_dim]. Runs on the thread that calls it; `thread`: its buffers.
  void Run(const hearth_kernels& kernels, PixelTiles::Thread& thread, ConstMatF q, MatF out) const;

 private:
  int64_t positions_ = 0;
  Weight keys_;    // [positions, up to a multiple of 16; key_dim]
  Weight values_;  // [value_dim; positions, up to a multiple of 32]
  AlignedBuffer<float> transposed_;
  AlignedBuffer<uint8_t> rows_, key_panels_, value_panels_;
};

}  // namespace hearth

#endif  // HEARTH_OPS_PANEL_ATTENTION_H_
