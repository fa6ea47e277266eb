// RMSNorm: y = x / sqrt(mean(x^2) + eps) * weight. Gemma 3n uses the weight as it is (no +1).
#ifndef HEARTH_OPS_NORM_H_
#define HEARTH_OPS_NORM_H_

#include "addon/base/mat.h"
#include "addon/kernels/kernels.h"

namespace hearth {

// One row of n values; `weight` may be null (all ones), `y` may be `x`.
void RmsNormRow(const hearth_kernels& kernels, const float* x, const float* weight, float eps, int64_t n, float* y);

// Every row of x.
void RmsNorm(const hearth_kernels& kernels, ConstMatF x, const float* weight, float eps, MatF y);

// y *= sqrt(target_mean_square / max(mean(y^2), 1e-5)): gives a row the magnitude of another (AltUp, HF
// Gemma3nTextModel.forward: `target_magnitude`, floor 1e-5 on the row's own mean square).
void RescaleRow(const hearth_kernels& kernels, float target_mean_square, int64_t n, float* y);

}  // namespace hearth

#endif  // HEARTH_OPS_NORM_H_
