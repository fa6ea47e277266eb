/* NEON with the int8 matrix instructions (Armv8.6): Cortex-A510/A710/X2 and later, Graviton 3, Apple M2. */
#include <arm_neon.h>
#include <stdint.h>

#include "addon/kernels/kernels.h"

// Each builds on those before it.
#include "addon/kernels/arm_neon_f32.inc"

#include "addon/kernels/arm_neon_q8.inc"

#include "addon/kernels/arm_neon_i8mm_q8.inc"

#include "addon/kernels/arm_neon_k_q8.inc"

#include "addon/kernels/arm_neon_kv.inc"

#include "addon/kernels/arm_neon_encoder.inc"

// clang-format off
extern "C" const struct hearth_kernels hearth_kernels_arm_neon_i8mm = {
    "arm_neon_i8mm",
#include "addon/kernels/table.inc"
};
// clang-format on
