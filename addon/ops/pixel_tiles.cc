#include "addon/ops/pixel_tiles.h"

#include "addon/ops/panels.h"

namespace hearth {
namespace {

// Enough pixels to be worth reading the weights for, few enough for their values to stay in the second-level cache.
constexpr int64_t kTileFloats = 1 << 17;
constexpr int64_t kMinPixels = 32, kMaxPixels = 128;
// Kernels multiply so many at a time.
constexpr int64_t kGroup = 8;

}  // namespace

int64_t PixelTiles::TilePixels(const Exec& exec, int64_t pixels, int64_t widest) {
  const int64_t fits = std::clamp(kTileFloats / widest, kMinPixels, kMaxPixels);
  // As many tiles as there are threads, or a multiple of that: none waits for another's last one.
  const int64_t threads = exec.pool().size(), rounds = (pixels + fits * threads - 1) / (fits * threads);
  const int64_t even = (pixels + rounds * threads - 1) / (rounds * threads);
  return std::max(kGroup, (even + kGroup - 1) / kGroup * kGroup);
}

Status PixelTiles::Reserve(Exec& exec, std::span<const PixelStep> steps, int64_t tile, int64_t widest,
                           int64_t pixel_floats) {
  threads_.resize(static_cast<size_t>(exec.pool().size()));
  for (Thread& thread : threads_) {
    for (size_t i = 0; i < steps.size(); ++i)
      HEARTH_RETURN_IF_ERROR(thread.in[i].Reserve(tile, steps[i].w.cols, false));
    HEARTH_RETURN_IF_ERROR(thread.rows.Reserve(static_cast<size_t>(tile * widest)));
    HEARTH_RETURN_IF_ERROR(thread.pixel.Reserve(static_cast<size_t>(pixel_floats)));
  }
  return Status();
}

void PixelTiles::RunSteps(const Exec& exec, std::span<const PixelStep> steps, size_t step, Thread& thread,
                          int64_t first, int64_t count, MatF out) {
  const hearth_kernels& kernels = exec.kernels();
  for (size_t i = step; i < steps.size(); ++i) {
    const Weight& w = steps[i].w;
    const bool last = i + 1 == steps.size();
    const MatF y = last ? out.Rows(first, count) : MatF(thread.rows.data(), count, w.rows);
    MultiplyPanels(kernels, w, 0, w.rows / HEARTH_PANEL_ROWS, w.cols, thread.in[i].q8(), count, y.data, y.stride);
    for (int64_t p = 0; p < count; ++p) {
      ApplyPixelOps(kernels, steps[i].after, first + p, w.rows, y.row(p));
      if (!last) thread.in[i + 1].Quantise(kernels, p, 0, w.rows, y.row(p));
    }
  }
}

}  // namespace hearth
