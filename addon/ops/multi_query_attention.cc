#include "addon/ops/multi_query_attention.h"

#include <algorithm>
#include <cmath>

#include "addon/base/aligned_buffer.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

constexpr int64_t kTileQueries = 32;

}  // namespace

Status MultiQueryAttention(Exec& exec, ConstMatF q, ConstMatF k, ConstMatF v, MatF out) {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t positions = k.rows;
  // The kernel multiplies rows by rows: values are needed with the positions along the row.
  AlignedBuffer<float> v_transposed;  // [value_dim, positions]
  HEARTH_RETURN_IF_ERROR(v_transposed.Reset(static_cast<size_t>(v.cols * positions)));
  for (int64_t p = 0; p < positions; ++p) {
    for (int64_t c = 0; c < v.cols; ++c) v_transposed[static_cast<size_t>(c * positions + p)] = v.row(p)[c];
  }
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(kTileQueries * positions)));
  const float scale = 1.0f / std::sqrt(static_cast<float>(k.cols));
  exec.pool().For(q.rows, kTileQueries, [&](int64_t begin, int64_t end, int thread) {
    float* scores = exec.scratch(thread);  // [tile, positions]
    for (int64_t first = begin; first < end; first += kTileQueries) {
      const int64_t count = std::min(kTileQueries, end - first);
      kernels.gemm_f32(k.data, k.stride, q.row(first), q.stride, k.cols, positions, count, scores, positions);
      float sums[kTileQueries];
      for (int64_t i = 0; i < count; ++i) sums[i] = ExpRow(scores + i * positions, positions, scale);
      kernels.gemm_f32(v_transposed.data(), positions, scores, positions, positions, v.cols, count, out.row(first),
                       out.stride);
      for (int64_t i = 0; i < count; ++i) {
        float* y = out.row(first + i);
        kernels.scale_f32(y, 1.0f / sums[i], nullptr, y, v.cols);
      }
    }
  });
  return Status();
}

}  // namespace hearth
