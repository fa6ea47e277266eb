/* NEON with the dot-product instructions (Armv8.2): Raspberry Pi 5 (Cortex-A76), Jetson Orin (A78AE). */
#include <arm_neon.h>
#include <stdint.h>

#include "addon/kernels/kernels.h"

// Each builds on those before it.
#include "addon/kernels/arm_neon_f32.inc"

#include "addon/kernels/arm_neon_q8.inc"

#include "addon/kernels/arm_neon_dotprod_q8.inc"

#include "addon/kernels/arm_neon_k_q8.inc"

#include "addon/kernels/arm_neon_kv.inc"

// One kernel a line, in the order of kernels.h.
// clang-format off
extern "C" const struct hearth_kernels hearth_kernels_arm_neon_dotprod = {
    "arm_neon_dotprod",
#define HEARTH_WEIGHT_KERNELS(type) gemv_##type, dequantize_##type,
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS
#define HEARTH_QUANTISED_KERNELS(type) panel_##type##_q8, row_##type##_q8, column_##type,
#define HEARTH_PANEL_KERNELS(type) panel_##type##_q8,
#include "addon/kernels/quantised_list.inc"
#undef HEARTH_QUANTISED_KERNELS
#undef HEARTH_PANEL_KERNELS
    screen_q8_0_q8,
    screen_q6_k_q8,
    quantize_q8,
#define HEARTH_KV_KERNELS(type) mix_##type, store_##type,
#include "addon/kernels/kv_list.inc"
#undef HEARTH_KV_KERNELS
    mix_tokens_f32,
    gemm_f32,
    dot_f32,
    axpy_f32,
    sum_squares_f32,
    scale_f32,
};
// clang-format on
