// The kernels that store keys and values and mix values by attention weights: every table against the scalar ones, over
// sizes, row counts and strides.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "addon/gguf/gguf.h"
#include "addon/kernels/dispatch.h"
#include "addon/ops/kernel_lookup.h"
#include "addon/ops/matmul.h"

#include "test/native/random_blocks.h"

namespace hearth {
namespace {

using test::Random;

const uint32_t kTypes[] = {HEARTH_F32, HEARTH_F16, HEARTH_Q8_0};

int64_t BytesOf(uint32_t type, int64_t n) {
  const BlockShape shape = BlockShapeOf(type);
  return n / shape.values * shape.bytes;
}

}  // namespace

TEST_CASE("stored keys and values: the same bytes from every table") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kTypes) {
      CAPTURE(BlockTypeName(type));
      for (int64_t n = 0; n <= 96; n += BlockShapeOf(type).values) {
        for (const int64_t shift : {0, 1, 3}) {
          CAPTURE(n);
          const std::vector<float> x = random.Floats(n + shift);
          std::vector<uint8_t> expected(static_cast<size_t>(BytesOf(type, n)) + 4, 7), actual = expected;
          StoreOf(hearth_kernels_scalar, type)(x.data() + shift, n, expected.data());
          StoreOf(**table, type)(x.data() + shift, n, actual.data());
          CHECK(expected == actual);
        }
      }
    }
  }
}

TEST_CASE("float16 as it is stored: rounding, overflow, subnormals and signs of every table") {
  const float infinity = std::numeric_limits<float>::infinity();
  // Each next to a tie, on it, and behind it.
  const std::vector<float> x = {0.0f,          -0.0f,          1.0f,          -2.0f,           1.00048828125f,
                                1.0009765625f, 1.00146484375f, 65504.0f,      65519.0f,        65520.0f,
                                -65520.0f,     infinity,       -infinity,     6.103515625e-5f, 6.097555e-5f,
                                5.9604645e-8f, 2.9802322e-8f,  2.9802326e-8f, 8.940697e-8f,    -1e-8f,
                                1e-30f,        -3.3e-7f};
  const std::vector<uint16_t> expected = {0x0000, 0x8000, 0x3c00, 0xc000, 0x3c00, 0x3c01, 0x3c02, 0x7bff,
                                          0x7bff, 0x7c00, 0xfc00, 0x7c00, 0xfc00, 0x0400, 0x03ff, 0x0001,
                                          0x0000, 0x0001, 0x0002, 0x8000, 0x0000, 0x8006};
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (size_t repeat = 0; repeat < 2; ++repeat) {  // in the vector loop and in its tail
      std::vector<float> values(x.begin() + static_cast<int64_t>(repeat), x.end());
      std::vector<uint16_t> halves(values.size());
      (*table)->store_f16(values.data(), static_cast<int64_t>(values.size()),
                          reinterpret_cast<uint8_t*>(halves.data()));
      for (size_t i = 0; i < halves.size(); ++i) {
        CAPTURE(values[i]);
        CHECK(halves[i] == expected[i + repeat]);
      }
    }
  }
}

TEST_CASE("mixed values agree with plain sums, and those of each token are as if it were alone") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const int64_t n : {0, 1, 16, 31, 64, 67, 256}) {
      for (const int64_t count : {0, 1, 7}) {
        for (int64_t tokens = 0; tokens <= 9; ++tokens) {
          CAPTURE(n);
          CAPTURE(count);
          CAPTURE(tokens);
          const int64_t ldv = n + 3, ldp = count + 2, ldy = n + 1;
          const std::vector<float> v = random.Floats(count * ldv + 1), p = random.Floats(tokens * ldp + 1);
          std::vector<float> y = random.Floats(tokens * ldy + 1), expected = y;
          (*table)->mix_tokens_f32(v.data(), ldv, p.data(), ldp, count, n, tokens, y.data(), ldy);
          for (int64_t t = 0; t < tokens; ++t) {
            const float* weights = p.data() + t * ldp;
            for (int64_t c = 0; c < n; ++c) {
              double sum = expected[static_cast<size_t>(t * ldy + c)], magnitude = std::fabs(sum);
              for (int64_t i = 0; i < count; ++i) {
                const double product = static_cast<double>(weights[i]) * v[static_cast<size_t>(i * ldv + c)];
                sum += product;
                magnitude += std::fabs(product);
              }
              CHECK(std::fabs(y[static_cast<size_t>(t * ldy + c)] - sum) <= magnitude * 4e-7 + 1e-7);
            }
            (*table)->mix_tokens_f32(v.data(), ldv, weights, ldp, count, n, 1, expected.data() + t * ldy, ldy);
          }
          CHECK(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

}  // namespace hearth
