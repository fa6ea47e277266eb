// Element-wise functions over long rows. The scalar forms in activation.h are the specification.
#ifndef HEARTH_OPS_VECTOR_MATH_H_
#define HEARTH_OPS_VECTOR_MATH_H_

#include <cstdint>

namespace hearth {

// x[n] = GELU(x) with the tanh approximation, to about 3e-7 of the value.
void GeluTanhRow(float* x, int64_t n);

// x[n] = e^(scale * (x - max x)); returns their sum, for the caller to divide by. n >= 1, scale > 0.
float ExpRow(float* x, int64_t n, float scale);

// x[n] = e^(scale * (x - max)); returns their sum. max: at least every x.
float ExpSumRow(float* x, int64_t n, float max, float scale = 1.0f);

// x[n] = GELU(x) * y, with the tanh approximation, to about 3e-7 of the value.
void GeluTanhMulRow(float* x, const float* y, int64_t n);

// x[n] = cap * tanh(x / cap): keeps a logit within (-cap, cap). To about 3e-7 of the cap.
void SoftCapRow(float* x, int64_t n, float cap);

// Mean and standard deviation (divisor n) of x[n].
void MeanAndDeviation(const float* x, int64_t n, float* mean, float* deviation);

}  // namespace hearth

#endif  // HEARTH_OPS_VECTOR_MATH_H_
