// Scalar non-linearities, in the exact variants Gemma 3n was trained with.
#ifndef HEARTH_OPS_ACTIVATION_H_
#define HEARTH_OPS_ACTIVATION_H_

#include <cmath>

namespace hearth {

// GELU with the tanh approximation (`gelu_pytorch_tanh`).
inline float GeluTanh(float x) {
  constexpr float kSqrt2OverPi = 0.79788456080286536f;
  return 0.5f * x * (1.0f + std::tanh(kSqrt2OverPi * (x + 0.044715f * x * x * x)));
}

inline float Sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

inline float Silu(float x) { return x * Sigmoid(x); }

// log(1 + e^x), without overflow.
inline float Softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

// Keeps a logit within (-cap, cap).
inline float SoftCap(float x, float cap) { return cap * std::tanh(x / cap); }

}  // namespace hearth

#endif  // HEARTH_OPS_ACTIVATION_H_
