// Chains of 1x1 convolutions in 8 bits, a tile of pixels at a time: a thread takes a tile through the whole chain while
// it is in its cache, so that what lies between the convolutions is never a map in memory.
#ifndef HEARTH_OPS_PIXEL_TILES_H_
#define HEARTH_OPS_PIXEL_TILES_H_

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/ops/activations.h"
#include "addon/ops/conv.h"
#include "addon/ops/exec.h"
#include "addon/ops/weight.h"

namespace hearth {

// w: in panels, as wide as the step before it is long. `after` finds its skip by the pixel's place in the map.
struct PixelStep {
  const Weight& w;
  PixelOps after;
};

class PixelTiles {
 public:
  // What one thread works with.
  struct Thread {
    Activations in[2];            // of a step, and of the next one
    AlignedBuffer<float> rows;    // [tile, widest step]
    AlignedBuffer<float> pixel;   // room for one pixel, for who fills the tile
    AlignedBuffer<float> scores;  // ops/panel_attention.h
    Activations queries, shares;
  };

  // out[p] = what `steps` make of pixel p, for all of out's rows. fill(first, count, thread, x) makes the 8-bit rows of
  // pixels [first, first + count) as rows 0.. of `x`; for each it may use thread.pixel, `pixel_floats` long.
  template <typename Fill>
  Status Run(Exec& exec, std::span<const PixelStep> steps, MatF out, int64_t pixel_floats, Fill fill) {
    if (out.rows == 0) return Status();
    int64_t widest = 0;
    for (const PixelStep& step : steps) widest = std::max(widest, step.w.rows);
    const int64_t tile = TilePixels(exec, out.rows, widest);
    HEARTH_RETURN_IF_ERROR(Reserve(exec, steps, tile, widest, pixel_floats));
    exec.pool().For((out.rows + tile - 1) / tile, 1, [&](int64_t begin, int64_t end, int index) {
      Thread& thread = threads_[static_cast<size_t>(index)];
      for (int64_t first = begin * tile; first < std::min(end * tile, out.rows); first += tile) {
        const int64_t count = std::min(tile, out.rows - first);
        fill(first, count, thread, thread.in[0]);
        RunSteps(exec, steps, 0, thread, first, count, out);
      }
    });
    return Status();
  }

  // Pixels a thread takes at a time, out of `pixels` > 0; `widest`: values each has at most on its way.
  static int64_t TilePixels(const Exec& exec, int64_t pixels, int64_t widest);

  // The threads' buffers, for loops of other shapes.
  Status Reserve(Exec& exec, std::span<const PixelStep> steps, int64_t tile, int64_t widest, int64_t pixel_floats);
  Thread& thread(int index) { return threads_[static_cast<size_t>(index)]; }

  // Takes the rows in thread.in[step] through the steps from that one on, to rows [first, first + count) of `out`.
  static void RunSteps(const Exec& exec, std::span<const PixelStep> steps, size_t step, Thread& thread, int64_t first,
                       int64_t count, MatF out);

 private:
  std::vector<Thread> threads_;
};

}  // namespace hearth

#endif  // HEARTH_OPS_PIXEL_TILES_H_
