#include "addon/ops/vector_math.h"

#include <algorithm>
#include <cstring>

#include "addon/ops/float4.h"

namespace hearth {
namespace {

// 0.5 x (1 + tanh(u)) = x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3): one exponential, no cancellation.
Float4 Gelu4(Float4 x) {
  constexpr float kMinus2Sqrt2OverPi = -1.59576912160573072f;
  return x / (1.0f + Exp4(kMinus2Sqrt2OverPi * (x + 0.044715f * x * x * x)));
}

}  // namespace

void GeluTanhRow(float* x, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) Store4(x + i, Gelu4(Load4(x + i)));
  if (i < n) {
    float tail[4] = {};
    std::memcpy(tail, x + i, static_cast<size_t>(n - i) * sizeof(float));
    Store4(tail, Gelu4(Load4(tail)));
    std::memcpy(x + i, tail, static_cast<size_t>(n - i) * sizeof(float));
  }
}

float ExpRow(float* x, int64_t n, float scale) {
  int64_t i = 0;
  Float4 max4 = Splat4(x[0]);
  for (; i + 4 <= n; i += 4) {
    const Float4 v = Load4(x + i);
    max4 = v > max4 ? v : max4;
  }
  float max = std::max(std::max(max4[0], max4[1]), std::max(max4[2], max4[3]));
  for (; i < n; ++i) max = std::max(max, x[i]);

  Float4 sum4 = Splat4(0);
  for (i = 0; i + 4 <= n; i += 4) {
    const Float4 e = Exp4((Load4(x + i) - max) * scale);
    Store4(x + i, e);
    sum4 += e;
  }
  float sum = (sum4[0] + sum4[1]) + (sum4[2] + sum4[3]);
  for (; i < n; ++i) sum += x[i] = Exp4(Splat4((x[i] - max) * scale))[0];
  return sum;
}

void SiluRow(float* x, int64_t n) { GluRow(x, x, x, n); }

void GluRow(const float* x, const float* gate, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) Store4(y + i, Load4(x + i) / (1.0f + Exp4(-Load4(gate + i))));
  for (; i < n; ++i) y[i] = x[i] / (1.0f + Exp4(Splat4(-gate[i]))[0]);
}

}  // namespace hearth
