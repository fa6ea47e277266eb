/* AVX2 + FMA + F16C: every x86-64 of the last ten years. 8 floats a register, four accumulators to hide the latency. */
#include <immintrin.h>
#include <stdint.h>

#include "addon/kernels/kernels.h"

static float horizontal_sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

static __m256i tail_mask(int64_t left) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), lane);
}

static float half_to_float(uint16_t h) { return _cvtsh_ss(h); }

static float bfloat_to_float(uint16_t b) {
  union {
    uint32_t bits;
    float value;
  } out;
  out.bits = (uint32_t)b << 16;
  return out.value;
}

static __m256 load_f16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }

static __m256 load_bf16(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}

static __m256 load_i8(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}

/* The 32 codes of a Q4_0 block, minus 8, as bytes in the order of the values. */
static __m256i codes_q4_0(const uint8_t* codes) {
  const __m128i packed = _mm_loadu_si128((const __m128i*)codes);
  const __m128i low = _mm_and_si128(packed, _mm_set1_epi8(15));
  const __m128i high = _mm_and_si128(_mm_srli_epi16(packed, 4), _mm_set1_epi8(15));
  return _mm256_sub_epi8(_mm256_set_m128i(high, low), _mm256_set1_epi8(8));
}

static __m256 widen_i8(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)); }

static void dequantize_f32(const uint8_t* w, int64_t n, float* out) {
  const float* values = (const float*)w;
  for (int64_t i = 0; i < n; ++i) out[i] = values[i];
}

static void dequantize_f16(const uint8_t* w, int64_t n, float* out) {
  const uint16_t* values = (const uint16_t*)w;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, load_f16(values + i));
  for (; i < n; ++i) out[i] = half_to_float(values[i]);
}

static void dequantize_bf16(const uint8_t* w, int64_t n, float* out) {
  const uint16_t* values = (const uint16_t*)w;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(out + i, load_bf16(values + i));
  for (; i < n; ++i) out[i] = bfloat_to_float(values[i]);
}

static void dequantize_q8_0(const uint8_t* w, int64_t n, float* out) {
  const struct hearth_block_q8_0* block = (const struct hearth_block_q8_0*)w;
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const __m256 d = _mm256_set1_ps(half_to_float(block->d));
    for (int j = 0; j < 32; j += 8) _mm256_storeu_ps(out + i + j, _mm256_mul_ps(d, load_i8(block->q + j)));
  }
}

static void dequantize_q4_0(const uint8_t* w, int64_t n, float* out) {
  const struct hearth_block_q4_0* block = (const struct hearth_block_q4_0*)w;
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const __m256 d = _mm256_set1_ps(half_to_float(block->d));
    const __m256i codes = codes_q4_0(block->codes);
    const __m128i low = _mm256_castsi256_si128(codes), high = _mm256_extracti128_si256(codes, 1);
    _mm256_storeu_ps(out + i, _mm256_mul_ps(d, widen_i8(low)));
    _mm256_storeu_ps(out + i + 8, _mm256_mul_ps(d, widen_i8(_mm_srli_si128(low, 8))));
    _mm256_storeu_ps(out + i + 16, _mm256_mul_ps(d, widen_i8(high)));
    _mm256_storeu_ps(out + i + 24, _mm256_mul_ps(d, widen_i8(_mm_srli_si128(high, 8))));
  }
}

static float dot_f32(const float* a, const float* b, int64_t n) {
  __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
    s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
    s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
    s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
    s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
  }
  for (; i + 8 <= n; i += 8) s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
  if (i < n) {
    const __m256i mask = tail_mask(n - i);
    s1 = _mm256_fmadd_ps(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask), s1);
  }
  return horizontal_sum(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
}

static float dot_f32_row(const uint8_t* w, int64_t n, const float* x) { return dot_f32((const float*)w, x, n); }

#define DOT_16BIT(type, load, scalar)                                             \
  static float dot_##type##_row(const uint8_t* w, int64_t n, const float* x) {    \
    const uint16_t* values = (const uint16_t*)w;                                  \
    __m256 s0 = _mm256_setzero_ps(), s1 = s0;                                     \
    int64_t i = 0;                                                                \
    for (; i + 16 <= n; i += 16) {                                                \
      s0 = _mm256_fmadd_ps(load(values + i), _mm256_loadu_ps(x + i), s0);         \
      s1 = _mm256_fmadd_ps(load(values + i + 8), _mm256_loadu_ps(x + i + 8), s1); \
    }                                                                             \
    float sum = horizontal_sum(_mm256_add_ps(s0, s1));                            \
    for (; i < n; ++i) sum += scalar(values[i]) * x[i];                           \
    return sum;                                                                   \
  }
DOT_16BIT(f16, load_f16, half_to_float)
DOT_16BIT(bf16, load_bf16, bfloat_to_float)

static float dot_q8_0_row(const uint8_t* w, int64_t n, const float* x) {
  const struct hearth_block_q8_0* block = (const struct hearth_block_q8_0*)w;
  __m256 sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < n; i += 32, ++block) {
    __m256 s = _mm256_mul_ps(load_i8(block->q), _mm256_loadu_ps(x + i));
    for (int j = 8; j < 32; j += 8) s = _mm256_fmadd_ps(load_i8(block->q + j), _mm256_loadu_ps(x + i + j), s);
    sum = _mm256_fmadd_ps(_mm256_set1_ps(half_to_float(block->d)), s, sum);
  }
  return horizontal_sum(sum);
}

static float dot_q4_0_row(const uint8_t* w, int64_t n, const float* x) {
  const struct hearth_block_q4_0* block = (const struct hearth_block_q4_0*)w;
  __m256 sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const __m256i codes = codes_q4_0(block->codes);
    const __m128i low = _mm256_castsi256_si128(codes), high = _mm256_extracti128_si256(codes, 1);
    __m256 s = _mm256_mul_ps(widen_i8(low), _mm256_loadu_ps(x + i));
    s = _mm256_fmadd_ps(widen_i8(_mm_srli_si128(low, 8)), _mm256_loadu_ps(x + i + 8), s);
    s = _mm256_fmadd_ps(widen_i8(high), _mm256_loadu_ps(x + i + 16), s);
    s = _mm256_fmadd_ps(widen_i8(_mm_srli_si128(high, 8)), _mm256_loadu_ps(x + i + 24), s);
    sum = _mm256_fmadd_ps(_mm256_set1_ps(half_to_float(block->d)), s, sum);
  }
  return horizontal_sum(sum);
}

#include "addon/kernels/simple_blocks.inc"

#define HEARTH_WEIGHT_KERNELS(type, TYPE)                                                                           \
  static void gemv_##type(const uint8_t* w, int64_t row_bytes, int64_t n, const float* x, int64_t rows, float* y) { \
    for (int64_t r = 0; r < rows; ++r) y[r] = dot_##type##_row(w + r * row_bytes, n, x);                            \
  }
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS

/* 4 rows x T <= 3 tokens, T known when compiling: 12 accumulators of the 16 registers, 7 loads for 12 multiply-adds.
 * `rows`: how many of the four are stored; adds to y unless `first`. */
static inline __attribute__((always_inline)) void gemm_tile(const int T, const float* const* w, const float* x,
                                                            int64_t ldx, int64_t n, int first, int64_t rows, float* y,
                                                            int64_t ldy) {
  __m256 s[3][4];
#pragma GCC unroll 3
  for (int t = 0; t < T; ++t) s[t][0] = s[t][1] = s[t][2] = s[t][3] = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256 tokens[3];
#pragma GCC unroll 3
    for (int t = 0; t < T; ++t) tokens[t] = _mm256_loadu_ps(x + t * ldx + i);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const __m256 row = _mm256_loadu_ps(w[r] + i);
#pragma GCC unroll 3
      for (int t = 0; t < T; ++t) s[t][r] = _mm256_fmadd_ps(row, tokens[t], s[t][r]);
    }
  }
  if (i < n) {
    const __m256i mask = tail_mask(n - i);
    __m256 tokens[3];
#pragma GCC unroll 3
    for (int t = 0; t < T; ++t) tokens[t] = _mm256_maskload_ps(x + t * ldx + i, mask);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const __m256 row = _mm256_maskload_ps(w[r] + i, mask);
#pragma GCC unroll 3
      for (int t = 0; t < T; ++t) s[t][r] = _mm256_fmadd_ps(row, tokens[t], s[t][r]);
    }
  }
  const __m128i stored = _mm256_castsi256_si128(tail_mask(rows));
#pragma GCC unroll 3
  for (int t = 0; t < T; ++t) {
    const __m256 four = _mm256_hadd_ps(_mm256_hadd_ps(s[t][0], s[t][1]), _mm256_hadd_ps(s[t][2], s[t][3]));
    __m128 sums = _mm_add_ps(_mm256_castps256_ps128(four), _mm256_extractf128_ps(four, 1));
    if (!first) sums = _mm_add_ps(sums, _mm_maskload_ps(y + t * ldy, stored));
    if (rows >= 4) {
      _mm_storeu_ps(y + t * ldy, sums);
    } else {
      _mm_maskstore_ps(y + t * ldy, stored, sums);
    }
  }
}

/* Every y is summed in one order, wherever it is in a tile: kGemmColumns columns at a time, so that 16 rows of them
 * stay in the first-level cache while all tokens pass. */
enum { kGemmColumns = 256, kGemmRows = 16 };
static void gemm_f32(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t n, int64_t rows, int64_t tokens,
                     float* y, int64_t ldy) {
  for (int64_t block = 0; block < rows; block += kGemmRows) {
    const int64_t end = block + kGemmRows < rows ? block + kGemmRows : rows;
    for (int64_t c = 0; c == 0 || c < n; c += kGemmColumns) {
      const int64_t width = n - c < kGemmColumns ? n - c : (int64_t)kGemmColumns;
      for (int64_t t = 0; t < tokens; t += 3) {
        for (int64_t r = block; r < end; r += 4) {
          const float* four[4];
          for (int k = 0; k < 4; ++k) four[k] = w + (r + k < rows ? r + k : rows - 1) * ldw + c;
          const float* from = x + t * ldx + c;
          float* to = y + t * ldy + r;
          if (tokens - t >= 3) {
            gemm_tile(3, four, from, ldx, width, c == 0, end - r, to, ldy);
          } else if (tokens - t == 2) {
            gemm_tile(2, four, from, ldx, width, c == 0, end - r, to, ldy);
          } else {
            gemm_tile(1, four, from, ldx, width, c == 0, end - r, to, ldy);
          }
        }
      }
    }
  }
}

static void axpy_f32(float a, const float* x, float* y, int64_t n) {
  const __m256 scale = _mm256_set1_ps(a);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(y + i, _mm256_fmadd_ps(scale, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
  }
  for (; i < n; ++i) y[i] += a * x[i];
}

static float sum_squares_f32(const float* x, int64_t n) { return dot_f32(x, x, n); }

static void scale_f32(const float* x, float scale, const float* weight, float* y, int64_t n) {
  const __m256 s = _mm256_set1_ps(scale);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), s);
    _mm256_storeu_ps(y + i, weight == 0 ? v : _mm256_mul_ps(v, _mm256_loadu_ps(weight + i)));
  }
  for (; i < n; ++i) y[i] = weight == 0 ? x[i] * scale : x[i] * scale * weight[i];
}

// Each builds on those before it.
#include "addon/kernels/x86_avx2_q8.inc"

#include "addon/kernels/x86_avx2_k_q8.inc"

#include "addon/kernels/x86_avx2_kv.inc"

enum { VF = 8 };
typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
static inline __attribute__((always_inline)) vf vf_fma(vf a, vf b, vf c) {
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
static inline __attribute__((always_inline)) float vf_max(vf v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
static inline __attribute__((always_inline)) int32_t vi_sum(vi v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}
#include "addon/kernels/encoder_f32.inc"

// clang-format off
extern "C" const struct hearth_kernels hearth_kernels_x86_avx2 = {
    "x86_avx2",
#include "addon/kernels/table.inc"
};
// clang-format on
