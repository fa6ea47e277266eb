/* AVX-512 with VNNI: server and recent desktop x86-64. 16 floats a register; masks take care of every tail. */
#include <immintrin.h>
#include <stdint.h>

#include "addon/kernels/kernels.h"

static __mmask16 tail_mask(int64_t left) { return left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1); }

static float half_to_float(uint16_t h) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h))); }

static __m512 load_f16(const uint16_t* p, __mmask16 mask) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p)); }

static __m512 load_bf16(const uint16_t* p, __mmask16 mask) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p)), 16));
}

static __m512 widen_i8(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }

static __m128i load_i8(const int8_t* p) { return _mm_loadu_si128((const __m128i*)p); }

/* Codes 0..15 and 16..31 of a Q4_0 block, minus 8. */
static __m128i low_codes(const uint8_t* codes) {
  const __m128i packed = _mm_loadu_si128((const __m128i*)codes);
  return _mm_sub_epi8(_mm_and_si128(packed, _mm_set1_epi8(15)), _mm_set1_epi8(8));
}

static __m128i high_codes(const uint8_t* codes) {
  const __m128i packed = _mm_srli_epi16(_mm_loadu_si128((const __m128i*)codes), 4);
  return _mm_sub_epi8(_mm_and_si128(packed, _mm_set1_epi8(15)), _mm_set1_epi8(8));
}

static void dequantize_f32(const uint8_t* w, int64_t n, float* out) {
  const float* values = (const float*)w;
  for (int64_t i = 0; i < n; ++i) out[i] = values[i];
}

static void dequantize_f16(const uint8_t* w, int64_t n, float* out) {
  const uint16_t* values = (const uint16_t*)w;
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = tail_mask(n - i);
    _mm512_mask_storeu_ps(out + i, mask, load_f16(values + i, mask));
  }
}

static void dequantize_bf16(const uint8_t* w, int64_t n, float* out) {
  const uint16_t* values = (const uint16_t*)w;
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = tail_mask(n - i);
    _mm512_mask_storeu_ps(out + i, mask, load_bf16(values + i, mask));
  }
}

static void dequantize_q8_0(const uint8_t* w, int64_t n, float* out) {
  const struct hearth_block_q8_0* block = (const struct hearth_block_q8_0*)w;
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const __m512 d = _mm512_set1_ps(half_to_float(block->d));
    _mm512_storeu_ps(out + i, _mm512_mul_ps(d, widen_i8(load_i8(block->q))));
    _mm512_storeu_ps(out + i + 16, _mm512_mul_ps(d, widen_i8(load_i8(block->q + 16))));
  }
}

static void dequantize_q4_0(const uint8_t* w, int64_t n, float* out) {
  const struct hearth_block_q4_0* block = (const struct hearth_block_q4_0*)w;
  for (int64_t i = 0; i < n; i += 32, ++block) {
    const __m512 d = _mm512_set1_ps(half_to_float(block->d));
    _mm512_storeu_ps(out + i, _mm512_mul_ps(d, widen_i8(low_codes(block->codes))));
    _mm512_storeu_ps(out + i + 16, _mm512_mul_ps(d, widen_i8(high_codes(block->codes))));
  }
}

static float dot_f32(const float* a, const float* b, int64_t n) {
  __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) {
    s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
    s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
    s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
    s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
  }
  for (; i < n; i += 16) {
    const __mmask16 mask = tail_mask(n - i);
    s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i), s0);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

static float dot_f32_row(const uint8_t* w, int64_t n, const float* x) { return dot_f32((const float*)w, x, n); }

#define DOT_16BIT(type)                                                                            \
  static float dot_##type##_row(const uint8_t* w, int64_t n, const float* x) {                     \
    const uint16_t* values = (const uint16_t*)w;                                                   \
    __m512 s0 = _mm512_setzero_ps(), s1 = s0;                                                      \
    int64_t i = 0;                                                                                 \
    for (; i + 32 <= n; i += 32) {                                                                 \
      s0 = _mm512_fmadd_ps(load_##type(values + i, 0xffff), _mm512_loadu_ps(x + i), s0);           \
      s1 = _mm512_fmadd_ps(load_##type(values + i + 16, 0xffff), _mm512_loadu_ps(x + i + 16), s1); \
    }                                                                                              \
    for (; i < n; i += 16) {                                                                       \
      const __mmask16 mask = tail_mask(n - i);                                                     \
      s0 = _mm512_fmadd_ps(load_##type(values + i, mask), _mm512_maskz_loadu_ps(mask, x + i), s0); \
    }                                                                                              \
    return _mm512_reduce_add_ps(_mm512_add_ps(s0, s1));                                            \
  }
DOT_16BIT(f16)
DOT_16BIT(bf16)

static float dot_q8_0_row(const uint8_t* w, int64_t n, const float* x) {
  const struct hearth_block_q8_0* block = (const struct hearth_block_q8_0*)w;
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i += 32, ++block) {
    __m512 s = _mm512_mul_ps(widen_i8(load_i8(block->q)), _mm512_loadu_ps(x + i));
    s = _mm512_fmadd_ps(widen_i8(load_i8(block->q + 16)), _mm512_loadu_ps(x + i + 16), s);
    sum = _mm512_fmadd_ps(_mm512_set1_ps(half_to_float(block->d)), s, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

static float dot_q4_0_row(const uint8_t* w, int64_t n, const float* x) {
  const struct hearth_block_q4_0* block = (const struct hearth_block_q4_0*)w;
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < n; i += 32, ++block) {
    __m512 s = _mm512_mul_ps(widen_i8(low_codes(block->codes)), _mm512_loadu_ps(x + i));
    s = _mm512_fmadd_ps(widen_i8(high_codes(block->codes)), _mm512_loadu_ps(x + i + 16), s);
    sum = _mm512_fmadd_ps(_mm512_set1_ps(half_to_float(block->d)), s, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

#include "addon/kernels/simple_blocks.inc"

#define HEARTH_WEIGHT_KERNELS(type, TYPE)                                                                           \
  static void gemv_##type(const uint8_t* w, int64_t row_bytes, int64_t n, const float* x, int64_t rows, float* y) { \
    for (int64_t r = 0; r < rows; ++r) y[r] = dot_##type##_row(w + r * row_bytes, n, x);                            \
  }
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS

/* The sums of a, b, c and d. */
static inline __attribute__((always_inline)) __m128 four_sums(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x88), _mm512_shuffle_f32x4(c, d, 0xdd));
  __m512 s = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
  s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4e));
  s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xb1));
  const __m512i first = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(first, s));
}

/* 4 rows x T <= 6 tokens, T known when compiling: 24 accumulators, 10 loads for 24 multiply-adds. `rows`: those of the
 * four that are stored; adds to y unless `first`. */
static inline __attribute__((always_inline)) void gemm_tile(const int T, const float* const* w, const float* x,
                                                            int64_t ldx, int64_t n, int first, __mmask8 rows, float* y,
                                                            int64_t ldy) {
  const float *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
  __m512 s[6][4];
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) s[t][0] = s[t][1] = s[t][2] = s[t][3] = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m512 r0 = _mm512_loadu_ps(w0 + i), r1 = _mm512_loadu_ps(w1 + i);
    const __m512 r2 = _mm512_loadu_ps(w2 + i), r3 = _mm512_loadu_ps(w3 + i);
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      const __m512 token = _mm512_loadu_ps(x + t * ldx + i);
      s[t][0] = _mm512_fmadd_ps(r0, token, s[t][0]);
      s[t][1] = _mm512_fmadd_ps(r1, token, s[t][1]);
      s[t][2] = _mm512_fmadd_ps(r2, token, s[t][2]);
      s[t][3] = _mm512_fmadd_ps(r3, token, s[t][3]);
    }
  }
  if (i < n) {
    const __mmask16 mask = tail_mask(n - i);
    const __m512 r0 = _mm512_maskz_loadu_ps(mask, w0 + i), r1 = _mm512_maskz_loadu_ps(mask, w1 + i);
    const __m512 r2 = _mm512_maskz_loadu_ps(mask, w2 + i), r3 = _mm512_maskz_loadu_ps(mask, w3 + i);
#pragma GCC unroll 6
    for (int t = 0; t < T; ++t) {
      const __m512 token = _mm512_maskz_loadu_ps(mask, x + t * ldx + i);
      s[t][0] = _mm512_fmadd_ps(r0, token, s[t][0]);
      s[t][1] = _mm512_fmadd_ps(r1, token, s[t][1]);
      s[t][2] = _mm512_fmadd_ps(r2, token, s[t][2]);
      s[t][3] = _mm512_fmadd_ps(r3, token, s[t][3]);
    }
  }
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) {
    __m128 sums = four_sums(s[t][0], s[t][1], s[t][2], s[t][3]);
    if (!first) sums = _mm_add_ps(sums, _mm_maskz_loadu_ps(rows, y + t * ldy));
    _mm_mask_storeu_ps(y + t * ldy, rows, sums);
  }
}

/* Every y is summed in one order, wherever it is in a tile: kGemmColumns columns at a time, so that 16 rows of them
 * stay in the first-level cache while all tokens pass. */
enum { kGemmColumns = 512, kGemmRows = 16 };
static void gemm_f32(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t n, int64_t rows, int64_t tokens,
                     float* y, int64_t ldy) {
  for (int64_t block = 0; block < rows; block += kGemmRows) {
    const int64_t end = block + kGemmRows < rows ? block + kGemmRows : rows;
    for (int64_t c = 0; c == 0 || c < n; c += kGemmColumns) {
      const int64_t width = n - c < kGemmColumns ? n - c : (int64_t)kGemmColumns;
      for (int64_t t = 0; t < tokens;) {
        const int64_t left = tokens - t, count = left >= 6 ? 6 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (int64_t r = block; r < end; r += 4) {
          const float* four[4];
          for (int k = 0; k < 4; ++k) four[k] = w + (r + k < rows ? r + k : rows - 1) * ldw + c;
          const __mmask8 stored = end - r >= 4 ? 15 : (__mmask8)((1u << (end - r)) - 1);
          const float* from = x + t * ldx + c;
          float* to = y + t * ldy + r;
          if (count == 6) gemm_tile(6, four, from, ldx, width, c == 0, stored, to, ldy);
          if (count == 4) gemm_tile(4, four, from, ldx, width, c == 0, stored, to, ldy);
          if (count == 2) gemm_tile(2, four, from, ldx, width, c == 0, stored, to, ldy);
          if (count == 1) gemm_tile(1, four, from, ldx, width, c == 0, stored, to, ldy);
        }
        t += count;
      }
    }
  }
}

static void axpy_f32(float a, const float* x, float* y, int64_t n) {
  const __m512 scale = _mm512_set1_ps(a);
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = tail_mask(n - i);
    const __m512 sum = _mm512_fmadd_ps(scale, _mm512_maskz_loadu_ps(mask, x + i), _mm512_maskz_loadu_ps(mask, y + i));
    _mm512_mask_storeu_ps(y + i, mask, sum);
  }
}

static float sum_squares_f32(const float* x, int64_t n) { return dot_f32(x, x, n); }

static void scale_f32(const float* x, float scale, const float* weight, float* y, int64_t n) {
  const __m512 s = _mm512_set1_ps(scale);
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 mask = tail_mask(n - i);
    __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), s);
    if (weight != 0) v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, weight + i));
    _mm512_mask_storeu_ps(y + i, mask, v);
  }
}

#include "addon/kernels/x86_avx512vnni_q8.inc"

#include "addon/kernels/x86_avx512vnni_k_q8.inc"

#include "addon/kernels/x86_avx512vnni_kv.inc"

enum { VF = 16 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
static inline __attribute__((always_inline)) vf vf_fma(vf a, vf b, vf c) {
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
static inline __attribute__((always_inline)) float vf_max(vf v) { return _mm512_reduce_max_ps((__m512)v); }
static inline __attribute__((always_inline)) int32_t vi_sum(vi v) { return _mm512_reduce_add_epi32((__m512i)v); }
#include "addon/kernels/encoder_f32.inc"

// clang-format off
extern "C" const struct hearth_kernels hearth_kernels_x86_avx512vnni = {
    "x86_avx512vnni",
#include "addon/kernels/table.inc"
};
// clang-format on
