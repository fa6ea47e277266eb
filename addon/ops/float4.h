// Four floats as one value: compiles to SSE2 and NEON alike, so it needs no per-ISA file, and gives the same bits on
// both. For element-wise loops that take too long one value at a time; sums of products belong into the kernel table.
#ifndef HEARTH_OPS_FLOAT4_H_
#define HEARTH_OPS_FLOAT4_H_

#include <cstdint>
#include <cstring>

namespace hearth {

using Float4 = float __attribute__((vector_size(16)));
using Bits4 = uint32_t __attribute__((vector_size(16)));

// From and to any address.
inline Float4 Load4(const float* p) {
  Float4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void Store4(float* p, Float4 v) { std::memcpy(p, &v, sizeof v); }

inline Float4 Splat4(float x) { return Float4{x, x, x, x}; }

// e^x to about 2e-7 of the value; x is held within [-87, 88], where the result is a normal number.
inline Float4 Exp4(Float4 x) {
  x = x > 88.0f ? Splat4(88.0f) : x;
  x = x < -87.0f ? Splat4(-87.0f) : x;
  // x = n ln 2 + r. Adding 1.5 * 2^23 leaves n, rounded, in the low bits.
  constexpr float kRound = 12582912.0f;
  const Float4 shifted = x * 1.44269504f + kRound;
  const Float4 n = shifted - kRound;
  const Float4 r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts; the first product is exact
  // Taylor up to r^7: |r| <= 0.35, so the rest is below 6e-9.
  Float4 p = r * (1.0f / 5040.0f) + (1.0f / 720.0f);
  p = p * r + (1.0f / 120.0f);
  p = p * r + (1.0f / 24.0f);
  p = p * r + (1.0f / 6.0f);
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Bits4 bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000u;  // 2^n
  Float4 power;
  std::memcpy(&power, &bits, sizeof power);
  return p * power;
}

}  // namespace hearth

#endif  // HEARTH_OPS_FLOAT4_H_
