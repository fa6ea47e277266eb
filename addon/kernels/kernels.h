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

struct hearth_kernels {
  /* File name = ISA name = the value of --isa. */
  const char* isa;

#define HEARTH_WEIGHT_KERNELS(type) \
  hearth_gemv_fn gemv_##type;       \
  hearth_dequantize_fn dequantize_##type;
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS

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
