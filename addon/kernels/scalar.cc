/* The specification of every kernel, in plain C. Always there, on every machine. */
#include <stdint.h>

#include "addon/kernels/kernels.h"

static float half_to_float(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
  uint32_t exponent = (h >> 10) & 31;
  uint32_t mantissa = h & 0x3ff;
  union {
    uint32_t bits;
    float value;
  } out;
  if (exponent == 0) { /* zero or subnormal: mantissa * 2^-24 */
    out.value = (float)mantissa * 5.9604644775390625e-8f;
    out.bits |= sign;
    return out.value;
  }
  exponent = exponent == 31 ? 255 : exponent + 112;
  out.bits = sign | exponent << 23 | mantissa << 13;
  return out.value;
}

static float bfloat_to_float(uint16_t b) {
  union {
    uint32_t bits;
    float value;
  } out;
  out.bits = (uint32_t)b << 16;
  return out.value;
}

static void dequantize_f32(const uint8_t* w, int64_t n, float* out) {
  const float* values = (const float*)w;
  for (int64_t i = 0; i < n; ++i) out[i] = values[i];
}

static void dequantize_f16(const uint8_t* w, int64_t n, float* out) {
  const uint16_t* values = (const uint16_t*)w;
  for (int64_t i = 0; i < n; ++i) out[i] = half_to_float(values[i]);
}

static void dequantize_bf16(const uint8_t* w, int64_t n, float* out) {
  const uint16_t* values = (const uint16_t*)w;
  for (int64_t i = 0; i < n; ++i) out[i] = bfloat_to_float(values[i]);
}

static void dequantize_q8_0(const uint8_t* w, int64_t n, float* out) {
  const struct hearth_block_q8_0* block = (const struct hearth_block_q8_0*)w;
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const float d = half_to_float(block->d);
    for (int j = 0; j < 32; ++j) out[i + j] = d * block->q[j];
  }
}

static void dequantize_q4_0(const uint8_t* w, int64_t n, float* out) {
  const struct hearth_block_q4_0* block = (const struct hearth_block_q4_0*)w;
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const float d = half_to_float(block->d);
    for (int j = 0; j < 16; ++j) {
      out[i + j] = d * ((block->codes[j] & 15) - 8);
      out[i + j + 16] = d * ((block->codes[j] >> 4) - 8);
    }
  }
}

static float dot_f32(const float* a, const float* b, int64_t n) {
  /* Eight partial sums: closer to the exact sum than one long chain, and what the vector tables do too. */
  float sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += a[i + j] * b[i + j];
  }
  for (int j = 0; i < n; ++i, ++j) sums[j] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static float dot_f32_row(const uint8_t* w, int64_t n, const float* x) { return dot_f32((const float*)w, x, n); }

#define DOT_BY_BLOCK(type, values, bytes)                                      \
  static float dot_##type##_row(const uint8_t* w, int64_t n, const float* x) { \
    float sum = 0;                                                             \
    float row[values];                                                         \
    int64_t i = 0;                                                             \
    for (; i + values <= n; i += values, w += bytes) {                         \
      dequantize_##type(w, values, row);                                       \
      sum += dot_f32(row, x + i, values);                                      \
    }                                                                          \
    if (i < n) {                                                               \
      dequantize_##type(w, n - i, row);                                        \
      sum += dot_f32(row, x + i, n - i);                                       \
    }                                                                          \
    return sum;                                                                \
  }
DOT_BY_BLOCK(f16, 32, 64)
DOT_BY_BLOCK(bf16, 32, 64)
DOT_BY_BLOCK(q8_0, 32, 34)
DOT_BY_BLOCK(q4_0, 32, 18)

#include "addon/kernels/simple_blocks.inc"

#define HEARTH_WEIGHT_KERNELS(type, TYPE)                                                                           \
  static void gemv_##type(const uint8_t* w, int64_t row_bytes, int64_t n, const float* x, int64_t rows, float* y) { \
    for (int64_t r = 0; r < rows; ++r) y[r] = dot_##type##_row(w + r * row_bytes, n, x);                            \
  }
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS

static void gemm_f32(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t n, int64_t rows, int64_t tokens,
                     float* y, int64_t ldy) {
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < rows; ++r) y[t * ldy + r] = dot_f32(w + r * ldw, x + t * ldx, n);
  }
}

static void axpy_f32(float a, const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

static float sum_squares_f32(const float* x, int64_t n) { return dot_f32(x, x, n); }

static void scale_f32(const float* x, float scale, const float* weight, float* y, int64_t n) {
  if (weight == 0) {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * scale;
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = x[i] * scale * weight[i];
  }
}

#include "addon/kernels/scalar_q8.inc"

#include "addon/kernels/scalar_k_q8.inc"

#include "addon/kernels/scalar_kv.inc"

#include "addon/kernels/scalar_encoder.inc"

// clang-format off
extern "C" const struct hearth_kernels hearth_kernels_scalar = {
    "scalar",
#include "addon/kernels/table.inc"
};
// clang-format on
