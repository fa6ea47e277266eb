#include "addon/ops/attention.h"

#include <algorithm>
#include <cmath>

namespace hearth {
namespace {

// In place; returns 1 / sum so that the caller can scale the weighted sum once.
float SoftmaxUnnormalised(float* scores, int64_t n) {
  const float max = *std::max_element(scores, scores + n);
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += scores[i] = std::exp(scores[i] - max);
  return 1.0f / sum;
}

}  // namespace

Status Attention(Exec& exec, const AttentionShape& shape, ConstMatF q, int64_t first, ConstMatF keys, ConstMatF values,
                 MatF out) {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t d = shape.head_dim;
  const int group = shape.heads / shape.kv_heads;
  const int64_t last = first + q.rows;
  HEARTH_RETURN_IF_ERROR(
      exec.ReserveScratch(static_cast<size_t>(shape.window > 0 ? std::min(shape.window, last) : last)));
  exec.pool().For(q.rows * shape.heads, 1, [&](int64_t begin, int64_t end, int thread) {
    float* scores = exec.scratch(thread);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t token = task / shape.heads, head = task % shape.heads;
      const int64_t position = first + token, column = head / group * d;
      const int64_t start = shape.window > 0 ? std::max<int64_t>(0, position - shape.window + 1) : 0;
      const int64_t seen = position - start + 1;
      const float* query = q.row(token) + head * d;
      for (int64_t i = 0; i < seen; ++i) scores[i] = kernels.dot_f32(query, keys.row(start + i) + column, d);
      const float scale = SoftmaxUnnormalised(scores, seen);
      float* result = out.row(token) + head * d;
      std::fill(result, result + d, 0.0f);
      for (int64_t i = 0; i < seen; ++i) kernels.axpy_f32(scores[i] * scale, values.row(start + i) + column, result, d);
    }
  });
  return Status();
}

}  // namespace hearth
