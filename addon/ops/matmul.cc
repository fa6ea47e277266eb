#include "addon/ops/matmul.h"

#include <algorithm>

namespace hearth {
namespace {

// Rows a thread takes at a time with a single token, and rows dequantised together with several.
constexpr int64_t kGemvGrain = 16;
constexpr int64_t kTileRows = 16;

}  // namespace

hearth_gemv_fn GemvOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
    case HEARTH_F32:
      return kernels.gemv_f32;
    case HEARTH_F16:
      return kernels.gemv_f16;
    case HEARTH_BF16:
      return kernels.gemv_bf16;
    case HEARTH_Q8_0:
      return kernels.gemv_q8_0;
    case HEARTH_Q4_0:
      return kernels.gemv_q4_0;
  }
  return nullptr;
}

hearth_dequantize_fn DequantizeOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
    case HEARTH_F32:
      return kernels.dequantize_f32;
    case HEARTH_F16:
      return kernels.dequantize_f16;
    case HEARTH_BF16:
      return kernels.dequantize_bf16;
    case HEARTH_Q8_0:
      return kernels.dequantize_q8_0;
    case HEARTH_Q4_0:
      return kernels.dequantize_q4_0;
  }
  return nullptr;
}

bool HasKernels(uint32_t type) { return GemvOf(hearth_kernels_scalar, type) != nullptr; }

void DequantizeRow(const hearth_kernels& kernels, const Weight& w, int64_t r, float* out) {
  DequantizeOf(kernels, w.type)(w.row(r), w.cols, out);
}

Status MatMul(Exec& exec, const Weight& w, ConstMatF x, MatF y) { return MatMulPrefix(exec, w, w.cols, x, y); }

Status MatMulPrefix(Exec& exec, const Weight& w, int64_t cols, ConstMatF x, MatF y) {
  const hearth_kernels& kernels = exec.kernels();
  if (x.rows == 1) {
    const hearth_gemv_fn gemv = GemvOf(kernels, w.type);
    exec.pool().For(w.rows, kGemvGrain, [&](int64_t begin, int64_t end, int) {
      gemv(w.row(begin), w.row_bytes, cols, x.data, end - begin, y.data + begin);
    });
    return Status();
  }
  if (w.type == HEARTH_F32) {
    exec.pool().For(w.rows, kTileRows, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; r += kTileRows) {
        kernels.gemm_f32(reinterpret_cast<const float*>(w.row(r)), w.row_bytes / 4, x.data, x.stride, cols,
                         std::min(kTileRows, end - r), x.rows, y.data + r, y.stride);
      }
    });
    return Status();
  }
  // Other types: a tile of rows becomes float32 once and then meets every token.
  const int64_t ld = (cols + 15) / 16 * 16;
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(ld * kTileRows)));
  const hearth_dequantize_fn dequantize = DequantizeOf(kernels, w.type);
  exec.pool().For(w.rows, kTileRows, [&](int64_t begin, int64_t end, int thread) {
    float* tile = exec.scratch(thread);
    for (int64_t r = begin; r < end; r += kTileRows) {
      const int64_t rows = std::min(kTileRows, end - r);
      for (int64_t i = 0; i < rows; ++i) dequantize(w.row(r + i), cols, tile + i * ld);
      kernels.gemm_f32(tile, ld, x.data, x.stride, cols, rows, x.rows, y.data + r, y.stride);
    }
  });
  return Status();
}

}  // namespace hearth
