// The tensor element types of GGUF that hearth reads: how many values a block holds and how many bytes it takes.
// Included by kernels: nothing but plain C types.
#ifndef HEARTH_GGUF_BLOCK_TYPES_H_
#define HEARTH_GGUF_BLOCK_TYPES_H_

#include <stdint.h>

// HEARTH_BLOCK_TYPE(name, id in the file, values per block, bytes per block)
#define HEARTH_BLOCK_TYPES(X) \
  X(F32, 0, 1, 4)             \
  X(F16, 1, 1, 2)             \
  X(Q4_0, 2, 32, 18)          \
  X(Q8_0, 8, 32, 34)          \
  X(I32, 26, 1, 4)            \
  X(BF16, 30, 1, 2)

enum hearth_block_type {
#define X(name, id, values, bytes) HEARTH_##name = id,
  HEARTH_BLOCK_TYPES(X)
#undef X
};

// 32 values: a float16 scale d, then 32 4-bit codes c; byte j holds value j (low nibble) and value j + 16 (high).
// value = d * (c - 8).
struct hearth_block_q4_0 {
  uint16_t d;
  uint8_t codes[16];
};

// 32 values: a float16 scale d, then 32 signed bytes. value = d * q.
struct hearth_block_q8_0 {
  uint16_t d;
  int8_t q[32];
};

#endif  // HEARTH_GGUF_BLOCK_TYPES_H_
