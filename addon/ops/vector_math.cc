#include "addon/ops/vector_math.h"

#include <algorithm>
#include <cmath>
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
  return ExpSumRow(x, n, max, scale);
}

float ExpSumRow(float* x, int64_t n, float max, float scale) {
  Float4 sum4 = Splat4(0);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const Float4 e = Exp4((Load4(x + i) - max) * scale);
    Store4(x + i, e);
    sum4 += e;
  }
  float sum = (sum4[0] + sum4[1]) + (sum4[2] + sum4[3]);
  for (; i < n; ++i) sum += x[i] = Exp4(Splat4((x[i] - max) * scale))[0];
  return sum;
}

void GeluTanhMulRow(float* x, const float* y, int64_t n) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) Store4(x + i, Gelu4(Load4(x + i)) * Load4(y + i));
  for (; i < n; ++i) x[i] = Gelu4(Splat4(x[i]))[0] * y[i];
}

void SoftCapRow(float* x, int64_t n, float cap) {
  // tanh(u) = 1 - 2 / (e^2u + 1). Near zero that cancels, but only against the cap: the error stays 1e-7 of it.
  const float scale = 2.0f / cap;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) Store4(x + i, cap - 2.0f * cap / (Exp4(Load4(x + i) * scale) + 1.0f));
  for (; i < n; ++i) x[i] = (cap - 2.0f * cap / (Exp4(Splat4(x[i] * scale)) + 1.0f))[0];
}

void MeanAndDeviation(const float* x, int64_t n, float* mean, float* deviation) {
  // Sums of a thousand values in float32, the sums of those in float64; deviations from a first value, so that a mean
  // far from zero costs no digits.
  constexpr int64_t kRun = 1024;
  const float shift = n > 0 ? x[0] : 0;
  double total = 0, squares = 0;
  for (int64_t begin = 0; begin < n; begin += kRun) {
    const int64_t end = std::min(n, begin + kRun);
    Float4 sum4 = Splat4(0), square4 = Splat4(0);
    int64_t i = begin;
    for (; i + 4 <= end; i += 4) {
      const Float4 v = Load4(x + i) - shift;
      sum4 += v;
      square4 += v * v;
    }
    for (int k = 0; k < 4; ++k) total += sum4[k], squares += square4[k];
    for (; i < end; ++i) total += x[i] - shift, squares += (x[i] - shift) * (x[i] - shift);
  }
  const double count = static_cast<double>(n), average = total / count;
  *mean = static_cast<float>(average + shift);
  *deviation = static_cast<float>(std::sqrt(std::max(0.0, squares / count - average * average)));
}

}  // namespace hearth
