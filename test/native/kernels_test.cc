// Every kernel of every table this CPU runs, against the scalar specification, over sizes and misalignments.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "addon/gguf/gguf.h"
#include "addon/kernels/dispatch.h"
#include "addon/ops/matmul.h"
#include "test/native/fixtures.h"
#include "test/native/random_blocks.h"

namespace hearth {
namespace {

constexpr int64_t kLargestTile = 64;  // values the widest loop takes at a time

using test::Random;
using test::RandomRows;

// What a sum of n products may differ by when it is added up in another order.
float Bound(const std::vector<float>& products) {
  double magnitude = 0;
  for (float p : products) magnitude += std::fabs(p);
  return static_cast<float>(magnitude * 4e-7 + 1e-7);
}

const uint32_t kTypes[] = {HEARTH_F32,  HEARTH_F16,  HEARTH_BF16, HEARTH_Q8_0, HEARTH_Q4_0, HEARTH_Q4_1,
                           HEARTH_Q5_0, HEARTH_Q5_1, HEARTH_Q4_K, HEARTH_Q5_K, HEARTH_Q6_K};

}  // namespace

TEST_CASE("the scalar table is always there and is chosen by name") {
  CHECK(std::string(ChooseKernels("scalar")->isa) == "scalar");
  CHECK(ChooseKernels("") == AvailableKernels()[0]);
  CHECK(ChooseKernels("auto") == AvailableKernels()[0]);
  CHECK(ChooseKernels("x87") == nullptr);
}

TEST_CASE("scalar dequantisation: values worked out by hand") {
  uint8_t q8[34] = {0x00, 0x38};  // 0.5
  q8[2] = 127;
  q8[33] = 0x80;  // -128
  float out[32];
  hearth_kernels_scalar.dequantize_q8_0(q8, 32, out);
  CHECK(out[0] == 63.5f);
  CHECK(out[31] == -64.0f);
  uint8_t q4[18] = {0x00, 0xc0};  // -2
  q4[2] = 0xf0;                   // value 0: 0 - 8, value 16: 15 - 8
  hearth_kernels_scalar.dequantize_q4_0(q4, 32, out);
  CHECK(out[0] == 16.0f);
  CHECK(out[16] == -14.0f);
  const uint16_t halves[] = {0x3c00, 0xbc00, 0x0001, 0x7bff, 0x0000, 0x8000};
  hearth_kernels_scalar.dequantize_f16(reinterpret_cast<const uint8_t*>(halves), 6, out);
  CHECK(out[0] == 1.0f);
  CHECK(out[1] == -1.0f);
  CHECK(out[2] == 5.9604644775390625e-8f);
  CHECK(out[3] == 65504.0f);
  CHECK(out[4] == 0.0f);
  CHECK(std::signbit(out[5]));
  const uint16_t bfloats[] = {0x3f80, 0xc000};
  hearth_kernels_scalar.dequantize_bf16(reinterpret_cast<const uint8_t*>(bfloats), 2, out);
  CHECK(out[0] == 1.0f);
  CHECK(out[1] == -2.0f);
}

// The blocks: bytes at random and, of Q4_K and Q6_K, some that llama.cpp 0.5 made of weights. Their values are what the
// gguf package 0.19 for Python reads in them.
TEST_CASE("blocks of llama.cpp's files hold what its own package reads in them") {
  const auto golden = test::OpenGguf("test/fixtures/models/k-blocks.golden.gguf");
  int compared = 0;
  for (const GgufTensor& blocks : golden->tensors()) {
    if (blocks.type == HEARTH_F32) continue;
    CAPTURE(blocks.name);
    const float* expected = test::Golden<float>(*golden, blocks.name + ".f32");
    std::vector<float> values(static_cast<size_t>(blocks.cols()));
    REQUIRE(HasKernels(blocks.type));
    DequantizeOf(hearth_kernels_scalar, blocks.type)(blocks.data, blocks.cols(), values.data());
    CHECK(std::equal(values.begin(), values.end(), expected));
    ++compared;
  }
  CHECK(compared == 6);
}

TEST_CASE("weight kernels agree with the specification") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kTypes) {
      CAPTURE(BlockTypeName(type));
      const BlockShape shape = BlockShapeOf(type);
      for (int64_t n = 0; n <= std::max<int64_t>(2 * kLargestTile + 1, 2 * shape.values); ++n) {
        if (n % shape.values != 0) continue;
        for (const int64_t shift : {0, 2, 4}) {
          if (shift % (shape.bytes == 4 ? 4 : 2) != 0) continue;
          CAPTURE(n);
          // Rows lie at any multiple of their element, with what is not theirs behind them.
          const int64_t rows = 3, row_bytes = n / shape.values * shape.bytes;
          std::vector<uint8_t> bytes(static_cast<size_t>(shift + rows * row_bytes + 64), 0xff);
          for (int64_t r = 0; r < rows; ++r) {
            const std::vector<uint8_t> row = RandomRows(random, type, 1, n);
            if (n > 0) std::memcpy(&bytes[static_cast<size_t>(shift + r * row_bytes)], row.data(), row.size());
          }
          const uint8_t* w = bytes.data() + shift;
          const std::vector<float> x = random.Floats(n);
          std::vector<float> expected(static_cast<size_t>(n)), actual(static_cast<size_t>(n) + 1, 7.0f);
          float y[4] = {0, 0, 0, 7.0f};
          GemvOf(**table, type)(w, row_bytes, n, x.data(), rows, y);
          CHECK(y[3] == 7.0f);
          for (int64_t r = 0; r < rows; ++r) {
            DequantizeOf(hearth_kernels_scalar, type)(w + r * row_bytes, n, expected.data());
            DequantizeOf(**table, type)(w + r * row_bytes, n, actual.data());
            if (n > 0) CHECK(std::memcmp(expected.data(), actual.data(), static_cast<size_t>(n) * sizeof(float)) == 0);
            CHECK(actual[static_cast<size_t>(n)] == 7.0f);
            std::vector<float> products;
            double sum = 0;
            for (int64_t i = 0; i < n; ++i) {
              products.push_back(expected[static_cast<size_t>(i)] * x[static_cast<size_t>(i)]);
              sum += static_cast<double>(expected[static_cast<size_t>(i)]) * x[static_cast<size_t>(i)];
            }
            CHECK(std::fabs(y[r] - sum) <= Bound(products));
          }
        }
      }
    }
  }
}

TEST_CASE("float kernels agree with the specification") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    const hearth_kernels& kernels = **table;
    for (int64_t n = 0; n <= 2 * kLargestTile + 1; ++n) {
      for (const int64_t shift : {0, 1, 3}) {
        CAPTURE(n);
        const std::vector<float> a = random.Floats(n + shift), b = random.Floats(n + shift);
        std::vector<float> products;
        for (int64_t i = 0; i < n; ++i)
          products.push_back(a[static_cast<size_t>(i + shift)] * b[static_cast<size_t>(i)]);
        CHECK(std::fabs(kernels.dot_f32(a.data() + shift, b.data(), n) -
                        hearth_kernels_scalar.dot_f32(a.data() + shift, b.data(), n)) <= Bound(products));
        for (float& p : products) p = 1;
        CHECK(kernels.sum_squares_f32(b.data(), n) ==
              doctest::Approx(hearth_kernels_scalar.sum_squares_f32(b.data(), n)).epsilon(1e-5));
        std::vector<float> y1 = random.Floats(n + 1), y2 = y1;
        kernels.axpy_f32(0.37f, a.data() + shift, y1.data(), n);
        hearth_kernels_scalar.axpy_f32(0.37f, a.data() + shift, y2.data(), n);
        for (int64_t i = 0; i < n; ++i)
          CHECK(y1[static_cast<size_t>(i)] == doctest::Approx(y2[static_cast<size_t>(i)]).epsilon(1e-5));
        CHECK(y1.back() == y2.back());
        for (const float* weight : {static_cast<const float*>(nullptr), b.data()}) {
          kernels.scale_f32(a.data() + shift, 1.7f, weight, y1.data(), n);
          hearth_kernels_scalar.scale_f32(a.data() + shift, 1.7f, weight, y2.data(), n);
          CHECK(std::memcmp(y1.data(), y2.data(), y1.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("gemm_f32 agrees with the specification at every edge of its tile") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const int64_t n : {0, 1, 15, 16, 17, 33, 100}) {
      for (int64_t rows = 0; rows <= 9; ++rows) {
        for (int64_t tokens = 0; tokens <= 9; ++tokens) {
          const int64_t ldw = n + 3, ldx = n + 5, ldy = rows + 2;
          const std::vector<float> w = random.Floats(ldw * (rows + 1)), x = random.Floats(ldx * (tokens + 1));
          std::vector<float> y1(static_cast<size_t>(ldy * (tokens + 1)), 7.0f), y2 = y1;
          (*table)->gemm_f32(w.data(), ldw, x.data(), ldx, n, rows, tokens, y1.data(), ldy);
          hearth_kernels_scalar.gemm_f32(w.data(), ldw, x.data(), ldx, n, rows, tokens, y2.data(), ldy);
          float difference = 0;
          for (size_t i = 0; i < y1.size(); ++i) difference = std::fmax(difference, std::fabs(y1[i] - y2[i]));
          CAPTURE(n);
          CAPTURE(rows);
          CAPTURE(tokens);
          CHECK(difference <= 1e-4f);
        }
      }
    }
  }
}

}  // namespace hearth
