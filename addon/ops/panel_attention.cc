#include "addon/ops/panel_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "addon/gguf/block_types.h"
#include "addon/ops/panels.h"

namespace hearth {
namespace {

constexpr int64_t kTileQueries = 32;

int64_t RoundUp(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Rows of floats as Q8_0 in panels; `count` rows are there, the others of the last panel are zeros.
Status ToPanels(Exec& exec, ConstMatF from, int64_t count, AlignedBuffer<uint8_t>& rows, AlignedBuffer<uint8_t>& panels,
                Weight* out) {
  const int64_t row_bytes = from.cols / 32 * static_cast<int64_t>(sizeof(hearth_block_q8_0));
  const int64_t bytes = PanelBytes(HEARTH_Q8_0, from.cols), padded = RoundUp(count, HEARTH_PANEL_ROWS);
  HEARTH_RETURN_IF_ERROR(rows.Reserve(static_cast<size_t>(padded * row_bytes)));
  HEARTH_RETURN_IF_ERROR(panels.Reserve(static_cast<size_t>(padded / HEARTH_PANEL_ROWS * bytes)));
  const Weight stored{rows.data(), HEARTH_Q8_0, padded, from.cols, row_bytes};
  exec.pool().For(padded / HEARTH_PANEL_ROWS, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin * HEARTH_PANEL_ROWS; r < end * HEARTH_PANEL_ROWS; ++r) {
      uint8_t* row = rows.data() + r * row_bytes;
      if (r < count) {
        exec.kernels().store_q8_0(from.row(r), from.cols, row);
      } else {
        std::memset(row, 0, static_cast<size_t>(row_bytes));
      }
    }
    PackPanels(stored, begin, end, panels.data());
  });
  *out = Weight{nullptr, HEARTH_Q8_0, padded, from.cols, 0, panels.data(), bytes};
  return Status();
}

}  // namespace

Status PanelAttention::Prepare(Exec& exec, ConstMatF k, ConstMatF v) {
  positions_ = k.rows;
  HEARTH_RETURN_IF_ERROR(ToPanels(exec, k, k.rows, rows_, key_panels_, &keys_));
  const int64_t columns = RoundUp(positions_, 32);
  HEARTH_RETURN_IF_ERROR(transposed_.Reserve(static_cast<size_t>(v.cols * columns)));
  for (int64_t c = 0; c < v.cols; ++c) {
    float* row = transposed_.data() + c * columns;
    for (int64_t p = 0; p < positions_; ++p) row[p] = v.row(p)[c];
    std::fill(row + positions_, row + columns, 0.0f);
  }
  return ToPanels(exec, MatF(transposed_.data(), v.cols, columns), v.cols, rows_, value_panels_, &values_);
}

Status PanelAttention::Reserve(Exec& exec, PixelTiles& tiles) const {
  for (int i = 0; i < exec.pool().size(); ++i) {
    PixelTiles::Thread& thread = tiles.thread(i);
    HEARTH_RETURN_IF_ERROR(thread.scores.Reserve(static_cast<size_t>(kTileQueries * keys_.rows)));
    HEARTH_RETURN_IF_ERROR(thread.queries.Reserve(kTileQueries, keys_.cols, false));
    HEARTH_RETURN_IF_ERROR(thread.shares.Reserve(kTileQueries, values_.cols, false));
  }
  return Status();
}

void PanelAttention::Run(const hearth_kernels& kernels, PixelTiles::Thread& thread, ConstMatF q, MatF out) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(keys_.cols));
  for (int64_t first = 0; first < q.rows; first += kTileQueries) {
    const int64_t count = std::min(kTileQueries, q.rows - first);
    for (int64_t i = 0; i < count; ++i) thread.queries.Quantise(kernels, i, 0, q.cols, q.row(first + i));
    MultiplyPanels(kernels, keys_, 0, keys_.rows / HEARTH_PANEL_ROWS, keys_.cols, thread.queries.q8(), count,
                   thread.scores.data(), keys_.rows);
    float sums[kTileQueries];
    for (int64_t i = 0; i < count; ++i)
      sums[i] = thread.shares.Softmax(kernels, i, thread.scores.data() + i * keys_.rows, positions_, scale);
    MultiplyPanels(kernels, values_, 0, values_.rows / HEARTH_PANEL_ROWS, values_.cols, thread.shares.q8(), count,
                   out.row(first), out.stride);
    for (int64_t i = 0; i < count; ++i) {
      // The sum is 0 where no score was a number.
      float* y = out.row(first + i);
      kernels.scale_f32(y, sums[i] > 0 ? 1.0f / sums[i] : 0.0f, nullptr, y, out.cols);
    }
  }
}

}  // namespace hearth
