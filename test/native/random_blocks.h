// Random but finite weights as a file holds them.
#ifndef HEARTH_TEST_NATIVE_RANDOM_BLOCKS_H_
#define HEARTH_TEST_NATIVE_RANDOM_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "addon/gguf/gguf.h"

namespace hearth::test {

struct Random {
  std::mt19937 engine{7};
  float Float() { return std::normal_distribution<float>()(engine); }
  std::vector<float> Floats(int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = Float();
    return values;
  }
  // A small positive or negative float16, now and then zero or subnormal.
  uint16_t Half() {
    const uint16_t sign = engine() & 0x8000;
    if (engine() % 16 == 0) return static_cast<uint16_t>(sign | engine() % 0x400);
    return static_cast<uint16_t>(sign | (0x2800 + engine() % 0x0800));
  }
};

// Where the float16 numbers of a block are; -1: none.
struct HalvesOf {
  int scale, offset;
  explicit HalvesOf(uint32_t type) : scale(0), offset(-1) {
    if (type == HEARTH_F32 || type == HEARTH_BF16) scale = -1;
    if (type == HEARTH_Q6_K) scale = offsetof(hearth_block_q6_k, d);
    if (type == HEARTH_Q4_1 || type == HEARTH_Q5_1 || type == HEARTH_Q4_K || type == HEARTH_Q5_K) offset = 2;
  }
};

// `rows` rows of n values: scales and offsets are small numbers, the rest is anything.
inline std::vector<uint8_t> RandomRows(Random& random, uint32_t type, int64_t rows, int64_t n) {
  const BlockShape shape = BlockShapeOf(type);
  const HalvesOf halves(type);
  std::vector<uint8_t> bytes(static_cast<size_t>(rows * n / shape.values * shape.bytes));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.engine());
  for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(shape.bytes)) {
    for (const int half_at : {halves.scale, halves.offset}) {
      const uint16_t half = random.Half();
      if (half_at >= 0) std::memcpy(&bytes[at + static_cast<size_t>(half_at)], &half, 2);
    }
    const float value = random.Float();
    if (type == HEARTH_F32) std::memcpy(&bytes[at], &value, 4);
    if (type == HEARTH_BF16) std::memcpy(&bytes[at], reinterpret_cast<const uint8_t*>(&value) + 2, 2);
  }
  return bytes;
}

}  // namespace hearth::test

#endif  // HEARTH_TEST_NATIVE_RANDOM_BLOCKS_H_
