#include "addon/model/panel_weights.h"

#include <algorithm>

#include "addon/base/aligned_buffer.h"
#include "addon/ops/kernel_lookup.h"
#include "addon/ops/panels.h"

namespace hearth {
namespace {

constexpr int64_t kRows = HEARTH_PANEL_ROWS;

// The type a matrix's panels have; HEARTH_F32 when it has none.
uint32_t PanelTypeOf(const hearth_kernels& kernels, const Weight& w) {
  if (HasPanels(kernels, w.type, w.rows, w.cols)) return w.type;
  const bool wide = w.type == HEARTH_F32 || w.type == HEARTH_F16 || w.type == HEARTH_BF16;
  return wide && HasPanels(kernels, HEARTH_Q8_0, w.rows, w.cols) ? HEARTH_Q8_0 : HEARTH_F32;
}

uint64_t BytesOf(uint32_t type, const Weight& w) {
  return Arena::Rounded(static_cast<size_t>(w.rows / kRows * PanelBytes(type, w.cols)));
}

// A panel's rows of a matrix, as Q8_0.
class Rounded {
 public:
  Status Reserve(int64_t cols) {
    HEARTH_RETURN_IF_ERROR(values_.Reserve(static_cast<size_t>(cols)));
    return rows_.Reserve(static_cast<size_t>(kRows * RowBytes(cols)));
  }

  Weight Panel(const hearth_kernels& kernels, const Weight& w, int64_t panel) {
    const int64_t row_bytes = RowBytes(w.cols);
    for (int64_t r = 0; r < kRows; ++r) {
      DequantizeOf(kernels, w.type)(w.row(panel * kRows + r), w.cols, values_.data());
      StoreOf(kernels, HEARTH_Q8_0)(values_.data(), w.cols, rows_.data() + r * row_bytes);
    }
    return {.data = rows_.data(), .type = HEARTH_Q8_0, .rows = kRows, .cols = w.cols, .row_bytes = row_bytes};
  }

 private:
  static int64_t RowBytes(int64_t cols) { return cols / 32 * static_cast<int64_t>(sizeof(hearth_block_q8_0)); }

  AlignedBuffer<float> values_;
  AlignedBuffer<uint8_t> rows_;
};

}  // namespace

uint64_t PanelWeights::Bytes(const hearth_kernels& kernels, const std::vector<Weight*>& weights) {
  uint64_t bytes = 0;
  for (const Weight* w : weights) {
    const uint32_t type = PanelTypeOf(kernels, *w);
    bytes += type == HEARTH_F32 ? static_cast<uint64_t>(w->rows * w->row_bytes) : BytesOf(type, *w);
  }
  return bytes;
}

Status PanelWeights::Pack(const hearth_kernels& kernels, const GgufFile& file, const std::vector<Weight*>& weights,
                          ThreadPool& pool) {
  uint64_t total = 0;
  int64_t widest = 0;
  for (const Weight* w : weights) {
    const uint32_t type = PanelTypeOf(kernels, *w);
    if (type == HEARTH_F32) continue;
    total += BytesOf(type, *w);
    if (type != w->type) widest = std::max(widest, w->cols);
  }
  if (total == 0) return Status();
  HEARTH_RETURN_IF_ERROR(arena_.Reserve(total));
  std::vector<Rounded> rounded(static_cast<size_t>(pool.size()));
  for (Rounded& rows : rounded) HEARTH_RETURN_IF_ERROR(rows.Reserve(widest));
  for (Weight* w : weights) {
    const uint32_t type = PanelTypeOf(kernels, *w);
    if (type == HEARTH_F32) continue;
    const int64_t bytes = PanelBytes(type, w->cols);
    uint8_t* const out = arena_.Take(BytesOf(type, *w));
    pool.For(w->rows / kRows, 1, [&](int64_t begin, int64_t end, int thread) {
      if (type == w->type) return PackPanels(*w, begin, end, out);
      for (int64_t p = begin; p < end; ++p)
        PackPanels(rounded[static_cast<size_t>(thread)].Panel(kernels, *w, p), 0, 1, out + p * bytes);
    });
    file.Drop(w->data, static_cast<uint64_t>(w->rows * w->row_bytes));
    w->type = type;
    w->panels = out;
    w->panel_bytes = bytes;
    w->data = nullptr;
  }
  return Status();
}

}  // namespace hearth
