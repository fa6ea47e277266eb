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
  X(Q4_1, 3, 32, 20)          \
  X(Q5_0, 6, 32, 22)          \
  X(Q5_1, 7, 32, 24)          \
  X(Q8_0, 8, 32, 34)          \
  X(Q4_K, 12, 256, 144)       \
  X(Q5_K, 13, 256, 176)       \
  X(Q6_K, 14, 256, 210)       \
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

// 32 values: float16 scale d and offset m, then 4-bit codes as in Q4_0. value = d * c + m.
struct hearth_block_q4_1 {
  uint16_t d, m;
  uint8_t codes[16];
};

// 32 values: a float16 scale d, the fifth bits of all codes (bit i % 8 of byte i / 8 is value i's), then their lower
// four as in Q4_0. value = d * (c - 16).
struct hearth_block_q5_0 {
  uint16_t d;
  uint8_t high[4];
  uint8_t codes[16];
};

// As Q5_0 with a float16 offset m. value = d * c + m.
struct hearth_block_q5_1 {
  uint16_t d, m;
  uint8_t high[4];
  uint8_t codes[16];
};

// 256 values in 8 groups of 32. Group g has a 6-bit scale s and a 6-bit offset o: value = d * s * c - dmin * o, with
// float16 d and dmin. The 16 numbers of 6 bits take 12 bytes: of the first four groups, s fills the lower bits of bytes
// 0..3 and o those of bytes 4..7; of group 4 + i, byte 8 + i holds the lower 4 bits of s (low nibble) and of o (high),
// and the two upper bits of bytes i and 4 + i hold their upper two. Codes: byte 32k + i holds value i of group 2k (low
// nibble) and of group 2k + 1 (high).
struct hearth_block_q4_k {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t codes[128];
};

// As Q4_K with a fifth bit for every code: bit g of byte i is that of value i of group g.
struct hearth_block_q5_k {
  uint16_t d, dmin;
  uint8_t scales[12];
  uint8_t high[32];
  uint8_t codes[128];
};

// 256 values in 16 groups of 16 with a signed scale s each: value = d * s * (c - 32), d float16, c of 6 bits. Each half
// of 128 values has 64 bytes of lower bits and 32 of upper ones: value i of the half (i = 32k + j) has its lower four
// in byte i % 64 (low nibble while i < 64, else high), its upper two in bits 2k and 2k + 1 of byte j.
struct hearth_block_q6_k {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  uint16_t d;
};

#endif  // HEARTH_GGUF_BLOCK_TYPES_H_
