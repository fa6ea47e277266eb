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

#include "addon/kernels/arm_neon_encoder.inc"

// clang-format off
extern "C" const struct hearth_kernels hearth_kernels_arm_neon_dotprod = {
    "arm_neon_dotprod",
#include "addon/kernels/table.inc"
};
// clang-format on
