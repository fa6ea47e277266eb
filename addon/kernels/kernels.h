/* The kernel table: every inner loop of the runtime, one table for each instruction set.
 *
 * `scalar.cc` is the specification; every other table must agree with it (test/native/kernels_test.cc sweeps sizes and
 * misalignments). Rounding may differ with the order of summation, nothing else.
 *
 * Kernel files include this header, block_types.h, stdint.h and the intrinsics header, and nothing else; everything in
 * them is static but the table. An inline function shared between a baseline file and an AVX-512 file becomes a weak
 * symbol, and the linker may keep the AVX-512 copy for everyone.
 */
#ifndef HEARTH_KERNELS_KERNELS_H_
#define HEARTH_KERNELS_KERNELS_H_

#include <stdint.h>

#include "addon/gguf/block_types.h"

/* y[r] = dot(w_r, x) for `rows` rows of n values; row r starts at w + r * row_bytes. n: a multiple of the block. */
typedef void (*hearth_gemv_fn)(const uint8_t* w, int64_t row_bytes, int64_t n, const float* x, int64_t rows, float* y);
/* out[n] = the values of one row. */
typedef void (*hearth_dequantize_fn)(const uint8_t* w, int64_t n, float* out);

/* n values as they are stored in a row of the type; rounds to nearest. */
typedef void (*hearth_store_fn)(const float* x, int64_t n, uint8_t* out);

/* Activations in 8 bits, one scale for every 32 values: x = d * q, q in [-127, 127]. */
struct hearth_q8_rows {
  const int8_t* q;       /* [tokens, ldq] */
  const float* d;        /* [tokens, ldd] */
  const int32_t* offset; /* [tokens, ldd]: -8 * the sum of the block's q; takes the bias off 4-bit codes */
  int64_t ldq, ldd;
};

/* Panels: how quantised matrices lie in memory. A panel is 16 rows, interleaved so that every instruction set reads it
 * front to back: a 512-bit register takes 4 columns of all 16 rows, a 128-bit one 4 columns of 4 rows. A row of n
 * values has `stored` = n / 32 blocks; a panel is
 *
 *   codes   [stored][4][16][4] bytes   byte [b][g][r][j]: code of column 32b + 4g + j of row r in the low nibble, of
 *                                      column 32b + 16 + 4g + j in the high one; of codes with more than 4 bits, the
 *                                      upper four
 *   scales  by type, see below
 *   low     [stored][L][16][4] bytes   of codes with 4 + L bits (L = 1, 2 or 4): the lower L. Columns 32b + 4i + j of
 *                                      row r, i = 0..7, are in byte [b][i % L][r][j], from bit i / L * L on
 *
 * so that `codes` and `scales` alone give an estimate (the screen of a Q6_K head). Scales and values:
 *
 *   Q4_0, Q8_0, Q5_0   [stored][16] float16 d: d * (code - bias), bias 8, 128, 16
 *   Q4_1, Q5_1         [stored][2][16] float16 d, m: d * code + m
 *   Q4_K, Q5_K         for every 8 blocks: float16 d[16] and dmin[16], bytes s[8][16] and o[8][16] (block, row):
 *                      d * s * code - dmin * o
 *   Q6_K               for every 8 blocks: float16 d[16], signed bytes s[16][16] (half a block, row):
 *                      d * s * (code - 32)
 *
 * A Q8_0 head's panels are laid out for its screen. Columns 32b + 4i + j of row r have bytes [b]..[r][j] of the planes;
 * u[i] are the upper three bits of their code, v[i] is the fourth:
 *
 *   codes   [stored][3][16][4] bytes   [0]: u[0] | u[1] << 3 | (u[6] & 3) << 6
 *                                      [1]: u[2] | u[3] << 3 | (u[7] & 3) << 6
 *                                      [2]: u[4] | u[5] << 3 | (u[6] >> 2) << 6 | (u[7] >> 2) << 7
 *   scales  [stored][16] float16       as above
 *   fourth  [stored][16][4] bytes      v[i] << i
 *   low     [stored][4][16][4] bytes   the lower four bits, as above
 */
enum { HEARTH_PANEL_ROWS = 16, HEARTH_PANEL_COLUMNS = 32 };

/* y[t * ldy + r] = dot(row r, x_t) over the first `blocks` blocks (of K types a multiple of 8), for the 16 rows of a
 * panel and `tokens` tokens. */
typedef void (*hearth_panel_fn)(const uint8_t* panel, int64_t stored, int64_t blocks, const struct hearth_q8_rows* x,
                                int64_t tokens, float* y, int64_t ldy);
/* y[i] = dot(w, x_t) with t = tokens[i], for `count` tokens; w is one row as it lies in the file. */
typedef void (*hearth_row_fn)(const uint8_t* w, int64_t n, const struct hearth_q8_rows* x, const int32_t* tokens,
                              int64_t count, float* y);
/* out[n] = d[i] * (code i), codes as in one block of the type for every 32 values, without their scales; d: float16. */
typedef void (*hearth_column_fn)(const uint8_t* codes, const uint16_t* d, int64_t n, float* out);

struct hearth_kernels {
  /* File name = ISA name = the value of --isa. */
  const char* isa;

#define HEARTH_WEIGHT_KERNELS(type, TYPE) \
  hearth_gemv_fn gemv_##type;             \
  hearth_dequantize_fn dequantize_##type;
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS

#define HEARTH_QUANTISED_KERNELS(type, TYPE) \
  hearth_panel_fn panel_##type##_q8;         \
  hearth_row_fn row_##type##_q8;             \
  hearth_column_fn column_##type;
#define HEARTH_PANEL_KERNELS(type, TYPE) hearth_panel_fn panel_##type##_q8;
#include "addon/kernels/quantised_list.inc"
#undef HEARTH_QUANTISED_KERNELS
#undef HEARTH_PANEL_KERNELS
  /* As panel_q8_0_q8 but of a head's panel, from the upper three bits of the codes alone: the lower five count as their
   * middle, 15.5. */
  hearth_panel_fn screen_q8_0_q8;
  /* The same from the upper four bits, 7.5 for the lower ones. */
  hearth_panel_fn refine_q8_0_q8;
  /* The same of panel_q6_k_q8, 1.5 for the lower two; its panels have one layout only. */
  hearth_panel_fn screen_q6_k_q8;
  /* n values (a multiple of 32) to 8 bits: q[n], d[n / 32], offset[n / 32]. d = max |x| / 127; ties round to even.
   * A block of nothing but |x| < 1e-36 becomes zeros. Where x is no number or infinite, q is 0; d need not be finite.
   */
  void (*quantize_q8)(const float* x, int64_t n, int8_t* q, float* d, int32_t* offset);

#define HEARTH_KV_KERNELS(type, TYPE) hearth_store_fn store_##type;
#include "addon/kernels/kv_list.inc"
#undef HEARTH_KV_KERNELS
  /* y[t * ldy + c] += sum over i of p[t * ldp + i] * v[i * ldv + c]: `count` rows v of n values, `tokens` rows p. */
  void (*mix_tokens_f32)(const float* v, int64_t ldv, const float* p, int64_t ldp, int64_t count, int64_t n,
                         int64_t tokens, float* y, int64_t ldy);

  /* y[t * ldy + r] = dot(w + r * ldw, x + t * ldx) over n values, for `rows` rows and `tokens` tokens. */
  void (*gemm_f32)(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t n, int64_t rows, int64_t tokens,
                   float* y, int64_t ldy);
  float (*dot_f32)(const float* a, const float* b, int64_t n);
  /* y[n] += a * x[n] */
  void (*axpy_f32)(float a, const float* x, float* y, int64_t n);
  /* sum of x[n]^2 */
  float (*sum_squares_f32)(const float* x, int64_t n);
  /* y[n] = x[n] * scale * weight[n]; weight may be null (all ones). y may be x. */
  void (*scale_f32)(const float* x, float scale, const float* weight, float* y, int64_t n);

  /* y[n] = GELU(x[n] * scale * weight[n]), the tanh approximation; weight may be null (all ones). y may be x. */
  void (*gelu_f32)(const float* x, float scale, const float* weight, float* y, int64_t n);
  /* y[n] = x[n] * sigmoid(gate[n]). y, x and gate may be the same. */
  void (*glu_f32)(const float* x, const float* gate, float* y, int64_t n);
  /* One pixel of a depthwise convolution: y[c] = sum over r < rows, k < columns of x[r * x_row + k * n + c] *
   * w[r * w_row + k * n + c], for n channels. */
  void (*depthwise_f32)(const float* x, int64_t x_row, const float* w, int64_t w_row, int64_t rows, int64_t columns,
                        int64_t n, float* y);
  /* e^(scale * (x[n] - max x)) in 8 bits, as activations are (hearth_q8_rows): q in [0, 127], zeros up to a multiple of
   * 32. Returns the sum of d * q, for the caller to divide by. n >= 1, scale > 0. */
  float (*softmax_q8)(const float* x, int64_t n, float scale, int8_t* q, float* d, int32_t* offset);
};

#ifdef __cplusplus
extern "C" {
#endif

extern const struct hearth_kernels hearth_kernels_scalar;
#if defined(__x86_64__)
extern const struct hearth_kernels hearth_kernels_x86_avx2;
extern const struct hearth_kernels hearth_kernels_x86_avx512vnni;
#elif defined(__aarch64__)
extern const struct hearth_kernels hearth_kernels_arm_neon_dotprod;
extern const struct hearth_kernels hearth_kernels_arm_neon_i8mm;
#endif

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_KERNELS_KERNELS_H_ */
