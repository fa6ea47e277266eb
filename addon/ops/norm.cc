#include "addon/ops/norm.h"

#include <algorithm>
#include <cmath>

namespace hearth {

void RmsNormRow(const hearth_kernels& kernels, const float* x, const float* weight, float eps, int64_t n, float* y) {
  const float mean_square = kernels.sum_squares_f32(x, n) / static_cast<float>(n);
  kernels.scale_f32(x, 1.0f / std::sqrt(mean_square + eps), weight, y, n);
}

void RmsNorm(const hearth_kernels& kernels, ConstMatF x, const float* weight, float eps, MatF y) {
  for (int64_t r = 0; r < x.rows; ++r) RmsNormRow(kernels, x.row(r), weight, eps, x.cols, y.row(r));
}

void RescaleRow(const hearth_kernels& kernels, float target_mean_square, int64_t n, float* y) {
  const float mean_square = std::max(kernels.sum_squares_f32(y, n) / static_cast<float>(n), 1e-5f);
  kernels.scale_f32(y, std::sqrt(target_mean_square) / std::sqrt(mean_square), nullptr, y, n);
}

}  // namespace hearth
