#include "addon/ops/matmul.h"

#include <algorithm>

#include "addon/ops/panels.h"

namespace hearth {
namespace {

// Rows a thread takes at a time: a panel, or as many row-major ones.
constexpr int64_t kTileRows = HEARTH_PANEL_ROWS;

}  // namespace

bool HasKernels(uint32_t type) { return GemvOf(hearth_kernels_scalar, type) != nullptr; }

void DequantizeRow(const hearth_kernels& kernels, const Weight& w, int64_t r, float* out) {
  DequantizeOf(kernels, w.type)(w.row(r), w.cols, out);
}

Status ReserveRows(Exec& exec, const Weight& w) {
  if (w.panels != nullptr || w.type == HEARTH_F32) return Status();
  return exec.ReserveScratch(static_cast<size_t>((w.cols + 15) / 16 * 16 * kTileRows));
}

namespace {

// Row-major: a few tokens straight from the stored type, a tile of rows, which stays in the cache, by each of them; for
// more, the tile becomes float32 once and then meets every token.
void MultiplyStored(Exec& exec, int thread, const Weight& w, int64_t begin, int64_t end, int64_t cols, ConstMatF x,
                    float* y, int64_t ldy) {
  const hearth_kernels& kernels = exec.kernels();
  if (x.rows <= kAlikeTokens) {
    const hearth_gemv_fn gemv = GemvOf(kernels, w.type);
    for (int64_t r = begin; r < end; r += kTileRows, y += kTileRows) {
      for (int64_t t = 0; t < x.rows; ++t)
        gemv(w.row(r), w.row_bytes, cols, x.row(t), std::min(kTileRows, end - r), y + t * ldy);
    }
    return;
  }
  const hearth_dequantize_fn dequantize = DequantizeOf(kernels, w.type);
  const int64_t ld = (cols + 15) / 16 * 16;
  for (int64_t r = begin; r < end; r += kTileRows, y += kTileRows) {
    const int64_t rows = std::min(kTileRows, end - r);
    if (w.type == HEARTH_F32) {
      kernels.gemm_f32(reinterpret_cast<const float*>(w.row(r)), w.row_bytes / 4, x.data, x.stride, cols, rows, x.rows,
                       y, ldy);
      continue;
    }
    float* tile = exec.scratch(thread);
    for (int64_t i = 0; i < rows; ++i) dequantize(w.row(r + i), cols, tile + i * ld);
    kernels.gemm_f32(tile, ld, x.data, x.stride, cols, rows, x.rows, y, ldy);
  }
}

}  // namespace

void MultiplyRows(Exec& exec, int thread, const Weight& w, int64_t begin, int64_t end, int64_t cols,
                  const Activations& x, int64_t tokens, float* y, int64_t ldy) {
  if (w.panels != nullptr) {
    MultiplyPanels(exec.kernels(), w, begin / kTileRows, (end + kTileRows - 1) / kTileRows, cols, x.q8(), tokens, y,
                   ldy);
  } else {
    MultiplyStored(exec, thread, w, begin, end, cols, x.values(tokens), y, ldy);
  }
}

Status MatMul(Exec& exec, const Weight& w, ConstMatF x, MatF y) {
  HEARTH_RETURN_IF_ERROR(ReserveRows(exec, w));
  exec.pool().For(w.rows, kTileRows, [&](int64_t begin, int64_t end, int thread) {
    MultiplyStored(exec, thread, w, begin, end, w.cols, x, y.data + begin, y.stride);
  });
  return Status();
}

Status MatMul(Exec& exec, int64_t tokens, std::initializer_list<Product> products) {
  int64_t tiles = 0;
  for (const Product& product : products) {
    HEARTH_RETURN_IF_ERROR(ReserveRows(exec, product.w));
    tiles += (product.w.rows + kTileRows - 1) / kTileRows;
  }
  exec.pool().For(tiles, 1, [&](int64_t begin, int64_t end, int thread) {
    int64_t before = 0;  // tiles of the products before this one
    for (const Product& product : products) {
      const Weight& w = product.w;
      const int64_t own = (w.rows + kTileRows - 1) / kTileRows;
      const int64_t first = std::max<int64_t>(0, begin - before) * kTileRows;
      const int64_t last = std::min(w.rows, (end - before) * kTileRows);
      before += own;
      if (first >= last) continue;
      MultiplyRows(exec, thread, w, first, last, product.cols > 0 ? product.cols : w.cols, product.x, tokens,
                   product.y.data + first, product.y.stride);
    }
  });
  return Status();
}

}  // namespace hearth
