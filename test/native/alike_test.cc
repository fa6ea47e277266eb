// What is computed for a few tokens together has the bits of what is computed for each alone: products and attention
// here, the decoder in text_decoder_test.cc, whole replies in session_decode_test.cc.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "addon/gguf/gguf.h"
#include "addon/kernels/dispatch.h"
#include "addon/ops/attention.h"
#include "addon/ops/matmul.h"
#include "addon/ops/panels.h"
#include "test/native/random_blocks.h"

namespace hearth {
namespace {

using test::Random;
using test::RandomRows;

bool SameBits(const std::vector<float>& a, const float* b) {
  return std::memcmp(a.data(), b, a.size() * sizeof(float)) == 0;
}

const uint32_t kWeightTypes[] = {HEARTH_F32,  HEARTH_F16,  HEARTH_BF16, HEARTH_Q8_0, HEARTH_Q4_0, HEARTH_Q4_1,
                                 HEARTH_Q5_0, HEARTH_Q5_1, HEARTH_Q4_K, HEARTH_Q5_K, HEARTH_Q6_K};

// y of `tokens` rows of x, from row `first` on.
std::vector<float> Multiply(Exec& exec, const Weight& w, const std::vector<float>& x, int64_t first, int64_t tokens,
                            int64_t cols) {
  Activations in;
  REQUIRE(in.Reserve(tokens, w.cols).ok());
  for (int64_t t = 0; t < tokens; ++t) {
    std::memcpy(in.row(t), x.data() + (first + t) * w.cols, static_cast<size_t>(w.cols) * sizeof(float));
    in.Quantise(exec.kernels(), t);
  }
  std::vector<float> y(static_cast<size_t>(tokens * w.rows));
  REQUIRE(MatMul(exec, tokens, {{w, in, MatF(y.data(), tokens, w.rows), cols}}).ok());
  return y;
}

void CheckProducts(Exec& exec, const Weight& w, const std::vector<float>& x) {
  // The first columns only, too, as a slice of a down projection has them.
  const int64_t block = BlockShapeOf(w.type).values;
  for (const int64_t cols : {w.cols, (w.cols - 1) / block * block / 32 * 32}) {
    CAPTURE(cols);
    std::vector<float> alone;
    for (int64_t t = 0; t < kAlikeTokens; ++t) {
      const std::vector<float> y = Multiply(exec, w, x, t, 1, cols);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (int64_t tokens = 2; tokens <= kAlikeTokens; ++tokens) {
      CAPTURE(tokens);
      CHECK(SameBits(Multiply(exec, w, x, 0, tokens, cols), alone.data()));
    }
  }
}

}  // namespace

TEST_CASE("alike: products with matrices of every type, row-major and in panels") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      Exec exec(**table, pool);
      for (const uint32_t type : kWeightTypes) {
        CAPTURE(BlockTypeName(type));
        const BlockShape shape = BlockShapeOf(type);
        const int64_t cols = 512, rows = 5 * 16;
        const std::vector<uint8_t> bytes = RandomRows(random, type, rows, cols);
        const std::vector<float> x = random.Floats(kAlikeTokens * cols);
        Weight w;
        w.data = bytes.data();
        w.type = type;
        w.rows = rows;
        w.cols = cols;
        w.row_bytes = cols / shape.values * shape.bytes;
        CheckProducts(exec, w, x);
        CheckProducts(exec, w.Rows(0, rows - 5), x);
        if (!HasPanels(**table, type, rows, cols)) continue;
        AlignedBuffer<uint8_t> packed;
        const int64_t panel_bytes = PanelBytes(type, cols);
        REQUIRE(packed.Reset(static_cast<size_t>(rows / 16 * panel_bytes)).ok());
        PackPanels(w, 0, rows / 16, packed.data());
        Weight panels = w;
        panels.data = nullptr;
        panels.panels = packed.data();
        panels.panel_bytes = panel_bytes;
        CheckProducts(exec, panels, x);
      }
    }
  }
}

TEST_CASE("alike: one stored row and the tokens it is read for") {
  Random random;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : {HEARTH_Q8_0, HEARTH_Q4_0}) {
      const hearth_row_fn dot = RowOf(**table, type);
      if (dot == nullptr) continue;
      const int64_t cols = 7 * 32;
      const std::vector<uint8_t> row = RandomRows(random, type, 1, cols);
      const std::vector<float> x = random.Floats(kAlikeTokens * cols);
      Activations in;
      REQUIRE(in.Reserve(kAlikeTokens, cols).ok());
      for (int32_t t = 0; t < kAlikeTokens; ++t) in.Quantise(**table, t, 0, cols, x.data() + t * cols);
      const hearth_q8_rows rows = in.q8();
      int32_t tokens[kAlikeTokens];
      float together[kAlikeTokens], alone[kAlikeTokens];
      for (int32_t t = 0; t < kAlikeTokens; ++t) {
        tokens[t] = static_cast<int32_t>((t * 5) % kAlikeTokens);
        dot(row.data(), cols, &rows, &tokens[t], 1, &alone[t]);
      }
      dot(row.data(), cols, &rows, tokens, kAlikeTokens, together);
      CHECK(std::memcmp(together, alone, sizeof alone) == 0);
    }
  }
}

TEST_CASE("alike: attention over keys and values of every type, with and without a window, around the ends of splits") {
  Random random;
  constexpr int64_t kDim = 64, kLast = 620;
  const std::vector<float> rows = random.Floats(2 * kLast * kDim);
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    for (const uint32_t type : {HEARTH_F32, HEARTH_F16, HEARTH_Q8_0}) {
      CAPTURE(BlockTypeName(type));
      const BlockShape shape = BlockShapeOf(type);
      const int64_t head_bytes = kDim / shape.values * shape.bytes;
      for (const int64_t window : {0, 17, 300}) {
        CAPTURE(window);
        // A ring where there is a window: what it has overwritten lies before all windows.
        const int64_t capacity = window > 0 ? window + 100 : kLast;
        AlignedBuffer<uint8_t> keys, values;
        for (AlignedBuffer<uint8_t>* buffer : {&keys, &values})
          REQUIRE(buffer->Reset(static_cast<size_t>(capacity * 2 * head_bytes)).ok());
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          Exec exec(**table, pool);
          const AttentionShape attention{4, 2, kDim, window};
          for (const int64_t first : {0, 3, 12, 250, 256, 505, 600}) {
            CAPTURE(first);
            for (int64_t p = std::max<int64_t>(0, first + kAlikeTokens - capacity); p < first + kAlikeTokens; ++p) {
              for (int64_t head = 0; head < 2; ++head) {
                const int64_t at = (p % capacity * 2 + head) * head_bytes;
                StoreOf(**table, type)(rows.data() + (2 * p + head) * kDim, kDim, keys.data() + at);
                StoreOf(**table, type)(rows.data() + (2 * (kLast - 1 - p) + head) * kDim, kDim, values.data() + at);
              }
            }
            const KvRows kv{type, keys.data(), values.data(), head_bytes, 2 * head_bytes, capacity};
            const std::vector<float> q = random.Floats(kAlikeTokens * 4 * kDim);
            std::vector<float> alone(q.size());
            for (int64_t t = 0; t < kAlikeTokens; ++t) {
              REQUIRE(Attention(exec, attention, ConstMatF(q.data() + t * 4 * kDim, 1, 4 * kDim), first + t, kv,
                                MatF(alone.data() + t * 4 * kDim, 1, 4 * kDim))
                          .ok());
            }
            for (int64_t tokens = 2; tokens <= kAlikeTokens; ++tokens) {
              CAPTURE(tokens);
              std::vector<float> together(static_cast<size_t>(tokens * 4 * kDim));
              REQUIRE(Attention(exec, attention, ConstMatF(q.data(), tokens, 4 * kDim), first, kv,
                                MatF(together.data(), tokens, 4 * kDim))
                          .ok());
              CHECK(SameBits(together, alone.data()));
            }
          }
        }
      }
    }
  }
}

}  // namespace hearth
