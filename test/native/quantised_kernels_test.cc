// The kernels with 8-bit activations: the scalar ones against plain arithmetic on dequantised values, every other table
// against the scalar ones, over sizes, token counts and misalignments.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "addon/gguf/gguf.h"
#include "addon/kernels/dispatch.h"
#include "addon/ops/matmul.h"
#include "addon/ops/panels.h"
#include "test/native/random_blocks.h"

namespace hearth {
namespace {

constexpr int64_t kRows = HEARTH_PANEL_ROWS;
const uint32_t kTypes[] = {HEARTH_Q4_0, HEARTH_Q8_0};  // with rows and columns
const uint32_t kPanelTypes[] = {HEARTH_Q4_0, HEARTH_Q8_0, HEARTH_Q4_1, HEARTH_Q5_0,
                                HEARTH_Q5_1, HEARTH_Q4_K, HEARTH_Q5_K, HEARTH_Q6_K};

using test::Random;
using test::RandomRows;

struct TestRows {
  std::vector<int8_t> q;
  std::vector<float> d;
  std::vector<int32_t> offset;
  hearth_q8_rows rows;

  TestRows(Random& random, int64_t tokens, int64_t n) {
    const int64_t ldq = n + 32, ldd = n / 32 + 1;  // rows need not be dense
    q.resize(static_cast<size_t>(tokens * ldq + 1));
    d.resize(static_cast<size_t>(tokens * ldd + 1));
    offset.resize(static_cast<size_t>(tokens * ldd + 1));
    std::vector<float> x(static_cast<size_t>(n));
    for (int64_t t = 0; t < tokens; ++t) {
      for (float& v : x) v = random.Float() * (random.engine() % 64 == 0 ? 20.0f : 1.0f);
      if (n > 0) {
        hearth_kernels_scalar.quantize_q8(x.data(), n, q.data() + t * ldq, d.data() + t * ldd, offset.data() + t * ldd);
      }
    }
    rows = {q.data(), d.data(), offset.data(), ldq, ldd};
  }
  float Value(int64_t t, int64_t i) const { return rows.d[t * rows.ldd + i / 32] * rows.q[t * rows.ldq + i]; }
};

Weight AsWeight(const std::vector<uint8_t>& bytes, uint32_t type, int64_t rows, int64_t n) {
  const BlockShape shape = BlockShapeOf(type);
  Weight w;
  w.data = bytes.data();
  w.type = type;
  w.rows = rows;
  w.cols = n;
  w.row_bytes = n / shape.values * shape.bytes;
  return w;
}

}  // namespace

TEST_CASE("activations in 8 bits: the same bytes from every table, within half a step of the value") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const int64_t n : {0, 32, 64, 96, 2048}) {
      std::vector<float> x(static_cast<size_t>(n) + 32);
      for (float& v : x) v = random.Float();
      if (n > 0) std::fill(x.begin(), x.begin() + 32, 0.0f);  // a block of zeros
      if (n > 32) x[40] = 1e30f, x[41] = -1e-30f;             // one value that dwarfs the others
      if (n > 64)
        for (int i = 64; i < 96; ++i) x[i] = (i - 80) * 0.5f * 127.0f / 8.0f;  // ties
      const size_t values = static_cast<size_t>(n) + 1, blocks = static_cast<size_t>(n / 32) + 1;
      std::vector<int8_t> q1(values, 7), q2(values, 7);
      std::vector<float> d1(blocks, 7), d2(blocks, 7);
      std::vector<int32_t> offset1(blocks, 7), offset2(blocks, 7);
      hearth_kernels_scalar.quantize_q8(x.data(), n, q1.data(), d1.data(), offset1.data());
      (*table)->quantize_q8(x.data(), n, q2.data(), d2.data(), offset2.data());
      CHECK(q1 == q2);
      CHECK(d1 == d2);
      CHECK(offset1 == offset2);
      for (int64_t b = 0; b < n / 32; ++b) {
        int sum = 0;
        for (int64_t i = b * 32; i < b * 32 + 32; ++i) {
          sum += q1[static_cast<size_t>(i)];
          CHECK(std::fabs(d1[static_cast<size_t>(b)] * q1[static_cast<size_t>(i)] - x[static_cast<size_t>(i)]) <=
                0.5001f * d1[static_cast<size_t>(b)]);
        }
        CHECK(offset1[static_cast<size_t>(b)] == -8 * sum);
      }
    }
  }
}

TEST_CASE("activations in 8 bits: a block too small for its own scale becomes zeros") {
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const float largest : {1e-45f, 1e-38f, 9e-37f, 2e-36f}) {
      CAPTURE(largest);
      float x[32] = {};
      x[3] = -largest;
      x[17] = largest / 4;
      int8_t q[32];
      float d;
      int32_t offset;
      (*table)->quantize_q8(x, 32, q, &d, &offset);
      const bool kept = largest > 1e-36f;
      CHECK(q[3] == (kept ? -127 : 0));
      CHECK(q[17] == (kept ? 32 : 0));
      CHECK(offset == (kept ? 8 * 95 : 0));
      CHECK(d == largest * (1.0f / 127.0f));
    }
  }
}

TEST_CASE("activations that are no numbers, or infinite, become zeros") {
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const float odd : {NAN, INFINITY, -INFINITY}) {
      for (int at = 0; at < 32; ++at) {
        float x[32], d;
        for (int i = 0; i < 32; ++i) x[i] = static_cast<float>(i - 16);
        x[at] = odd;
        int8_t q[32];
        int32_t offset;
        (*table)->quantize_q8(x, 32, q, &d, &offset);
        CHECK(q[at] == 0);
        int sum = 0;
        for (const int8_t value : q) sum += value;
        CHECK(offset == -8 * sum);
      }
    }
  }
}

TEST_CASE("a panel holds the rows it was made of") {
  Random random;
  std::vector<std::pair<uint32_t, bool>> kinds = {{HEARTH_Q8_0, true}};
  for (const uint32_t type : kPanelTypes) kinds.push_back({type, false});
  for (const auto& [type, head] : kinds) {
    CAPTURE(BlockTypeName(type));
    CAPTURE(head);
    for (const int64_t n : {BlockShapeOf(type).values, 3 * BlockShapeOf(type).values}) {
      const std::vector<uint8_t> bytes = RandomRows(random, type, 2 * kRows, n);
      Weight w = AsWeight(bytes, type, 2 * kRows, n);
      w.head = head;
      std::vector<uint8_t> packed(static_cast<size_t>(2 * PanelBytes(type, n)));
      PackPanels(w, 0, 2, packed.data());
      Weight panels = w;
      panels.data = nullptr;
      panels.panels = packed.data();
      panels.panel_bytes = PanelBytes(type, n);
      std::vector<float> expected(static_cast<size_t>(n)), actual(static_cast<size_t>(n));
      for (int64_t r = 0; r < 2 * kRows; ++r) {
        DequantizeOf(hearth_kernels_scalar, type)(w.row(r), n, expected.data());
        UnpackRow(panels, r, actual.data());
        CHECK(expected == actual);
      }
    }
  }
}

TEST_CASE("panels times tokens: the specification against plain sums, every table against the specification") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kPanelTypes) {
      CAPTURE(BlockTypeName(type));
      const int64_t block = BlockShapeOf(type).values;
      REQUIRE(HasPanels(**table, type, kRows, block));
      for (const int64_t n : {block, 2 * block, 5 * block, std::max<int64_t>(512, 3 * block)}) {
        const std::vector<uint8_t> bytes = RandomRows(random, type, kRows, n);
        const Weight w = AsWeight(bytes, type, kRows, n);
        std::vector<uint8_t> packed(static_cast<size_t>(PanelBytes(type, n)) + 1);
        Weight panels = w;
        panels.panel_bytes = PanelBytes(type, n);
        PackPanels(w, 0, 1, packed.data());
        panels.panels = packed.data();
        std::vector<float> row(static_cast<size_t>(n));
        for (int64_t tokens = 0; tokens <= 18; ++tokens) {
          const TestRows x(random, tokens, n);
          for (const int64_t cols : {n, n / block / 2 * block}) {
            CAPTURE(n);
            CAPTURE(tokens);
            CAPTURE(cols);
            const int64_t ldy = kRows + 3;
            std::vector<float> y(static_cast<size_t>(tokens * ldy + kRows), 7.0f);
            MultiplyPanels(**table, panels, 0, 1, cols, x.rows, tokens, y.data(), ldy);
            for (int64_t r = 0; r < kRows; ++r) {
              DequantizeOf(hearth_kernels_scalar, type)(w.row(r), n, row.data());
              for (int64_t t = 0; t < tokens; ++t) {
                double sum = 0, magnitude = 0;
                for (int64_t i = 0; i < cols; ++i) {
                  const double product = static_cast<double>(row[static_cast<size_t>(i)]) * x.Value(t, i);
                  sum += product;
                  magnitude += std::fabs(product);
                }
                CHECK(std::fabs(y[static_cast<size_t>(t * ldy + r)] - sum) <= magnitude * 1e-6 + 1e-6);
              }
            }
            for (int64_t i = tokens == 0 ? 0 : (tokens - 1) * ldy + kRows; i < static_cast<int64_t>(y.size()); ++i)
              CHECK(y[static_cast<size_t>(i)] == 7.0f);
          }
        }
      }
    }
  }
}

TEST_CASE("sums of a block are exact, to the last of what codes and values can add up to") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kTypes) {
      CAPTURE(BlockTypeName(type));
      const BlockShape shape = BlockShapeOf(type);
      for (int round = 0; round < 64; ++round) {
        CAPTURE(round);
        // Codes of one or both ends; values of one or both ends, often with the codes' own signs.
        std::vector<uint8_t> bytes = RandomRows(random, type, kRows, 32);
        const auto end = [&](int kind) { return kind == 0 || (kind == 2 && random.engine() % 2 == 0); };
        for (int64_t r = 0; r < kRows; ++r) {
          uint8_t* block = &bytes[static_cast<size_t>(r * shape.bytes)];
          for (int64_t i = 2; i < shape.bytes; ++i) {
            const bool low = end(round % 3), high = end(round % 3);
            if (type == HEARTH_Q4_0) {
              block[i] = static_cast<uint8_t>((low ? 0 : 15) | (high ? 0 : 0xf0));
            } else {
              block[i] = low ? 0x80 : 0x7f;
            }
          }
        }
        int8_t q[64];
        float d[2] = {0.37f, 0.11f};
        int32_t offset[2];
        for (int t = 0; t < 2; ++t) {
          int sum = 0;
          for (int i = 0; i < 32; ++i) {
            q[t * 32 + i] = end(round / 3 % 3) ? 127 : -127;
            sum += q[t * 32 + i];
          }
          offset[t] = -8 * sum;
        }
        const hearth_q8_rows x = {q, d, offset, 32, 1};
        std::vector<uint8_t> packed(static_cast<size_t>(PanelBytes(type, 32)));
        PackPanels(AsWeight(bytes, type, kRows, 32), 0, 1, packed.data());
        const auto panel = [&](const hearth_kernels& k) { return PanelOf(k, type); };
        const auto row = [&](const hearth_kernels& k) { return RowOf(k, type); };
        for (const int64_t tokens : {1, 2}) {
          float expected[2 * kRows], actual[2 * kRows];
          panel(hearth_kernels_scalar)(packed.data(), 1, 1, &x, tokens, expected, kRows);
          panel (**table)(packed.data(), 1, 1, &x, tokens, actual, kRows);
          CHECK(std::memcmp(expected, actual, static_cast<size_t>(tokens * kRows) * sizeof(float)) == 0);
          if (type != HEARTH_Q8_0) continue;
          Weight head = AsWeight(bytes, type, kRows, 32);
          head.head = true;
          std::vector<uint8_t> of_head(packed.size());
          PackPanels(head, 0, 1, of_head.data());
          for (const auto screen : {&hearth_kernels::screen_q8_0_q8, &hearth_kernels::refine_q8_0_q8}) {
            (hearth_kernels_scalar.*screen)(of_head.data(), 1, 1, &x, tokens, expected, kRows);
            ((*table)->*screen)(of_head.data(), 1, 1, &x, tokens, actual, kRows);
            CHECK(std::memcmp(expected, actual, static_cast<size_t>(tokens * kRows) * sizeof(float)) == 0);
          }
        }
        const int32_t list[] = {0, 1};
        float values[32], expected[2], actual[2];
        DequantizeOf(hearth_kernels_scalar, type)(bytes.data(), 32, values);
        row(hearth_kernels_scalar)(bytes.data(), 32, &x, list, 2, expected);
        row (**table)(bytes.data(), 32, &x, list, 2, actual);
        for (int t = 0; t < 2; ++t) {
          float magnitude = 0;
          for (const float value : values) magnitude += std::fabs(value) * 127 * d[t];
          CHECK(std::fabs(expected[t] - actual[t]) <= magnitude * 4e-7f);
        }
      }
    }
  }
}

TEST_CASE("a token's products do not depend on the tokens around it") {
  Random random;
  constexpr int64_t kTokens = 19, kCols = 32 * 70;  // more blocks than any table takes at a time
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kTypes) {
      const std::vector<uint8_t> bytes = RandomRows(random, type, kRows, kCols);
      Weight panels = AsWeight(bytes, type, kRows, kCols);
      std::vector<uint8_t> packed(static_cast<size_t>(PanelBytes(type, kCols)));
      PackPanels(panels, 0, 1, packed.data());
      panels.panels = packed.data();
      panels.panel_bytes = PanelBytes(type, kCols);
      const TestRows x(random, kTokens, kCols);
      std::vector<float> together(static_cast<size_t>(kTokens * kRows));
      MultiplyPanels(**table, panels, 0, 1, kCols, x.rows, kTokens, together.data(), kRows);
      for (int64_t first = 0; first < kTokens; ++first) {
        for (int64_t count = 1; first + count <= kTokens; ++count) {
          const hearth_q8_rows part = {x.rows.q + first * x.rows.ldq, x.rows.d + first * x.rows.ldd,
                                       x.rows.offset + first * x.rows.ldd, x.rows.ldq, x.rows.ldd};
          std::vector<float> y(static_cast<size_t>(count * kRows));
          MultiplyPanels(**table, panels, 0, 1, kCols, part, count, y.data(), kRows);
          CAPTURE(first);
          CAPTURE(count);
          CHECK(std::memcmp(y.data(), &together[static_cast<size_t>(first * kRows)], y.size() * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("the largest codes and values do not saturate, whatever their type") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kPanelTypes) {
      CAPTURE(BlockTypeName(type));
      const int64_t n = BlockShapeOf(type).values;
      for (const uint8_t codes : {0x00, 0xff}) {
        for (const int8_t value : {127, -127}) {
          std::vector<uint8_t> bytes(static_cast<size_t>(kRows * BlockShapeOf(type).bytes), codes);
          for (int64_t r = 0; r < kRows; ++r) {
            uint8_t* block = &bytes[static_cast<size_t>(r * BlockShapeOf(type).bytes)];
            const uint16_t d = 0x2c00, no_offset = 0;
            std::memcpy(block + test::HalvesOf(type).scale, &d, 2);
            if (test::HalvesOf(type).offset >= 0) std::memcpy(block + test::HalvesOf(type).offset, &no_offset, 2);
            if (type == HEARTH_Q6_K) std::memset(block + offsetof(hearth_block_q6_k, scales), 127, 16);
          }
          const std::vector<int8_t> q(static_cast<size_t>(n), value);
          const std::vector<float> d(static_cast<size_t>(n / 32), 0.37f);
          const std::vector<int32_t> offset(static_cast<size_t>(n / 32), -8 * 32 * value);
          const hearth_q8_rows x = {q.data(), d.data(), offset.data(), 0, 0};  // every token is this one
          Weight w = AsWeight(bytes, type, kRows, n);
          std::vector<uint8_t> packed(static_cast<size_t>(PanelBytes(type, n)));
          PackPanels(w, 0, 1, packed.data());
          std::vector<float> row(static_cast<size_t>(n));
          DequantizeOf(hearth_kernels_scalar, type)(w.row(0), n, row.data());
          double sum = 0;
          for (const float weight : row) sum += static_cast<double>(weight) * 0.37f * value;
          w.panels = packed.data();
          w.panel_bytes = PanelBytes(type, n);
          for (const int64_t tokens : {1, 2, 4, 8}) {
            std::vector<float> y(static_cast<size_t>(tokens * kRows));
            MultiplyPanels(**table, w, 0, 1, n, x, tokens, y.data(), kRows);
            for (const float actual : y) CHECK(std::fabs(actual - sum) <= std::fabs(sum) * 1e-5);
          }
        }
      }
    }
  }
}

TEST_CASE("several products at once: every thread puts its panels where they belong") {
  constexpr int64_t kCols = 64, kPanels = 5;
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    const std::vector<uint8_t> bytes = RandomRows(random, HEARTH_Q4_0, kPanels * kRows, kCols);
    const Weight w = AsWeight(bytes, HEARTH_Q4_0, kPanels * kRows, kCols);
    std::vector<uint8_t> packed(static_cast<size_t>(kPanels * PanelBytes(HEARTH_Q4_0, kCols)));
    PackPanels(w, 0, kPanels, packed.data());
    Weight panels = w;
    panels.data = nullptr;
    panels.panels = packed.data();
    panels.panel_bytes = PanelBytes(HEARTH_Q4_0, kCols);
    for (const int64_t tokens : {1, 3}) {
      Activations x;
      REQUIRE(x.Reserve(tokens, kCols).ok());
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t i = 0; i < kCols; ++i) x.row(t)[i] = random.Float();
        x.Quantise(**table, t);
      }
      const int64_t count = tokens * kPanels * kRows;
      std::vector<float> one_thread;
      for (const int threads : {1, 2, 3}) {
        CAPTURE(tokens);
        CAPTURE(threads);
        ThreadPool pool(threads);
        Exec exec(**table, pool);
        std::vector<float> first(static_cast<size_t>(count)), second(static_cast<size_t>(count));
        REQUIRE(MatMul(exec, tokens,
                       {{panels, x, MatF(first.data(), tokens, kPanels * kRows)},
                        {panels, x, MatF(second.data(), tokens, kPanels * kRows)}})
                    .ok());
        CHECK(first == second);
        if (one_thread.empty()) one_thread = first;
        CHECK(first == one_thread);
        // A range of rows goes to the beginning of where it is wanted.
        std::vector<float> range(static_cast<size_t>(tokens * kRows));
        MultiplyRows(exec, 0, panels, 3 * kRows, 4 * kRows, kCols, x, tokens, range.data(), kRows);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t r = 0; r < kRows; ++r) CHECK(range[t * kRows + r] == first[(t * kPanels + 3) * kRows + r]);
        }
      }
    }
  }
}

// A row whose codes have these lower bits instead of their own; `mask`: which of Q8_0's. Of Q6_K's the lower two.
std::vector<float> RowWithLowBits(const Weight& w, int64_t r, int mask, int low) {
  std::vector<uint8_t> bytes(w.row(r), w.row(r) + w.row_bytes);
  const BlockShape shape = BlockShapeOf(w.type);
  for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(shape.bytes)) {
    uint8_t* block = &bytes[at];
    if (w.type == HEARTH_Q8_0) {
      for (int i = 0; i < 32; ++i) block[2 + i] = static_cast<uint8_t>((block[2 + i] & ~mask) | low);
    } else {
      for (int i = 0; i < 128; ++i) block[i] = static_cast<uint8_t>((block[i] & 0xcc) | low * 0x11);
    }
  }
  std::vector<float> values(static_cast<size_t>(w.cols));
  DequantizeOf(hearth_kernels_scalar, w.type)(bytes.data(), w.cols, values.data());
  return values;
}

TEST_CASE("the head's screens read the upper bits of a code and take the middle of the others for the rest") {
  struct Screen {
    uint32_t type;
    hearth_panel_fn hearth_kernels::*kernel;
    int mask;  // of the bits that are left out
  };
  const Screen screens[] = {{HEARTH_Q8_0, &hearth_kernels::screen_q8_0_q8, 31},
                            {HEARTH_Q8_0, &hearth_kernels::refine_q8_0_q8, 15},
                            {HEARTH_Q6_K, &hearth_kernels::screen_q6_k_q8, 3}};
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const auto& [type, kernel, mask] : screens) {
      CAPTURE(BlockTypeName(type));
      CAPTURE(mask);
      const hearth_panel_fn screen = (*table)->*kernel;
      const bool there = screen != nullptr;
      REQUIRE(there);
      const int64_t block = BlockShapeOf(type).values;
      for (const int64_t n : {block, 3 * block, int64_t{512}}) {
        const std::vector<uint8_t> bytes = RandomRows(random, type, kRows, n);
        Weight w = AsWeight(bytes, type, kRows, n);
        w.head = type == HEARTH_Q8_0;
        std::vector<uint8_t> packed(static_cast<size_t>(PanelBytes(type, n)));
        PackPanels(w, 0, 1, packed.data());
        for (const int64_t tokens : {1, 2, 3, 5, 8, 9}) {
          const TestRows x(random, tokens, n);
          std::vector<float> y(static_cast<size_t>(tokens * kRows));
          screen(packed.data(), n / 32, n / 32, &x.rows, tokens, y.data(), kRows);
          for (int64_t r = 0; r < kRows; ++r) {
            const int middle = mask / 2;  // and a half
            const std::vector<float> below = RowWithLowBits(w, r, mask, middle),
                                     above = RowWithLowBits(w, r, mask, middle + 1);
            for (int64_t t = 0; t < tokens; ++t) {
              double sum = 0, magnitude = 0;
              for (int64_t i = 0; i < n; ++i) {
                const size_t at = static_cast<size_t>(i);
                const double product = (static_cast<double>(below[at]) + above[at]) / 2 * x.Value(t, i);
                sum += product;
                magnitude += std::fabs(product);
              }
              CHECK(std::fabs(y[static_cast<size_t>(t * kRows + r)] - sum) <= magnitude * 1e-6 + 1e-6);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("a head's panels give the same products, bit by bit, as others") {
  Random random;
  constexpr int64_t kPanels = 3, kCols = 32 * 5;
  const std::vector<uint8_t> bytes = RandomRows(random, HEARTH_Q8_0, kPanels * kRows, kCols);
  const int64_t panel_bytes = PanelBytes(HEARTH_Q8_0, kCols);
  std::vector<uint8_t> packed[2];
  Weight weights[2];
  for (int head = 0; head < 2; ++head) {
    Weight& w = weights[head] = AsWeight(bytes, HEARTH_Q8_0, kPanels * kRows, kCols);
    w.head = head == 1;
    packed[head].resize(static_cast<size_t>(kPanels * panel_bytes));
    PackPanels(w, 0, kPanels, packed[head].data());
    w.data = nullptr;
    w.panels = packed[head].data();
    w.panel_bytes = panel_bytes;
  }
  const int64_t panel_scales = kCols / 32 * kRows * 2;
  for (int64_t p = 0; p < kPanels; ++p) {
    CHECK(std::memcmp(PanelScales(weights[0], p), PanelScales(weights[1], p), static_cast<size_t>(panel_scales)) == 0);
  }
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const int64_t tokens : {1, 3, 18}) {
      const TestRows x(random, tokens, kCols);
      std::vector<float> y[2];
      for (int head = 0; head < 2; ++head) {
        y[head].resize(static_cast<size_t>(tokens * kPanels * kRows));
        MultiplyPanels(**table, weights[head], 0, kPanels, kCols, x.rows, tokens, y[head].data(), kPanels * kRows);
      }
      CHECK(y[0] == y[1]);
    }
  }
}

TEST_CASE("one row and a list of tokens") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kTypes) {
      CAPTURE(BlockTypeName(type));
      const hearth_row_fn multiply = RowOf(**table, type);
      for (const int64_t n : {0, 32, 64, 96, 160, 512}) {
        const int64_t tokens = 11;
        const TestRows x(random, tokens, n);
        const std::vector<uint8_t> bytes = RandomRows(random, type, 2, n);
        for (const int64_t shift : {0, 2}) {  // rows of the file lie at even addresses
          std::vector<uint8_t> moved(static_cast<size_t>(shift));
          moved.insert(moved.end(), bytes.begin(), bytes.end());
          const Weight w = AsWeight(moved, type, 1, n);
          std::vector<float> row(static_cast<size_t>(n));
          DequantizeOf(hearth_kernels_scalar, type)(w.data + shift, n, row.data());
          const std::vector<int32_t> list = {10, 0, 3, 3, 7};
          for (size_t count = 0; count <= list.size(); ++count) {
            std::vector<float> y(count + 1, 7.0f);
            multiply(w.data + shift, n, &x.rows, list.data(), static_cast<int64_t>(count), y.data());
            for (size_t i = 0; i < count; ++i) {
              double sum = 0, magnitude = 0;
              for (int64_t j = 0; j < n; ++j) {
                const double product = static_cast<double>(row[static_cast<size_t>(j)]) * x.Value(list[i], j);
                sum += product;
                magnitude += std::fabs(product);
              }
              CHECK(std::fabs(y[i] - sum) <= magnitude * 1e-6 + 1e-6);
            }
            CHECK(y[count] == 7.0f);
          }
        }
      }
    }
  }
}

TEST_CASE("columns: the same values from every table") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : kTypes) {
      const auto column = [&](const hearth_kernels& k) { return ColumnOf(k, type); };
      for (const int64_t n : {0, 32, 64, 96}) {
        std::vector<uint8_t> codes(static_cast<size_t>(n) + 1);
        for (uint8_t& byte : codes) byte = static_cast<uint8_t>(random.engine());
        std::vector<uint16_t> d(static_cast<size_t>(n) + 1);
        for (uint16_t& half : d) half = random.Half();
        std::vector<float> expected(static_cast<size_t>(n) + 1, 7.0f), actual = expected;
        column(hearth_kernels_scalar)(codes.data(), d.data(), n, expected.data());
        column (**table)(codes.data(), d.data(), n, actual.data());
        CHECK(std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(float)) == 0);
        // A column is a row of blocks whose values have a scale each.
        if (n >= 32 && type == HEARTH_Q4_0) {
          uint8_t block[18];
          std::memcpy(block, d.data() + 5, 2);
          std::memcpy(block + 2, codes.data(), 16);
          float values[32];
          hearth_kernels_scalar.dequantize_q4_0(block, 32, values);
          CHECK(values[5] == expected[5]);
        }
      }
    }
  }
}

}  // namespace hearth
