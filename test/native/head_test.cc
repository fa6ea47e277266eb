// The head's screen: whatever it leaves out, the largest logits are those of the whole product.
#include "addon/model/head.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "addon/ops/panels.h"
#include "test/native/random_blocks.h"

namespace hearth {

TEST_CASE("a screened head misses none of the largest, over 10,000 positions") {
  constexpr int64_t kVocab = 512, kCols = 256, kPositions = 5000, kAtOnce = 50, kLargest = 4;
  test::Random random;
  const hearth_kernels& kernels = *AvailableKernels()[0];
  ThreadPool pool(2);
  Exec exec(kernels, pool);
  for (const uint32_t type : {HEARTH_Q8_0, HEARTH_Q6_K}) {
    CAPTURE(BlockTypeName(type));
    if (!HasPanels(kernels, type, kVocab, kCols)) continue;
    const std::vector<uint8_t> bytes = test::RandomRows(random, type, kVocab, kCols);
    std::vector<uint8_t> packed(static_cast<size_t>(kVocab / HEARTH_PANEL_ROWS * PanelBytes(type, kCols)));
    Weight w;
    w.data = bytes.data();
    w.type = type;
    w.rows = kVocab;
    w.cols = kCols;
    w.row_bytes = kCols / BlockShapeOf(type).values * BlockShapeOf(type).bytes;
    w.head = type == HEARTH_Q8_0;
    PackPanels(w, 0, kVocab / HEARTH_PANEL_ROWS, packed.data());
    w.data = nullptr;
    w.panels = packed.data();
    w.panel_bytes = PanelBytes(type, kCols);
    Head head(w, 3000.0f);
    REQUIRE(head.Prepare(kernels, w).ok());
    REQUIRE(head.screens());

    Activations x;
    REQUIRE(x.Reserve(kAtOnce, kCols).ok());
    std::vector<float> estimates(static_cast<size_t>(kAtOnce * kVocab)), logits(static_cast<size_t>(kVocab));
    int64_t missed = 0, wrong = 0, candidates = 0;
    for (int64_t first = 0; first < kPositions; first += kAtOnce) {
      for (int64_t t = 0; t < kAtOnce; ++t) {
        for (int64_t i = 0; i < kCols; ++i) x.row(t)[i] = random.Float();
        x.Quantise(kernels, t);
      }
      REQUIRE(head.Score(exec, x, kAtOnce, MatF(estimates.data(), kAtOnce, kVocab)).ok());
      for (int64_t t = 0; t < kAtOnce; ++t) {
        std::vector<ScoredToken> found;
        head.Largest(kernels, t % 2 == 0 ? &pool : nullptr, x, t, estimates.data() + t * kVocab, kVocab, nullptr,
                     kLargest, &found);
        head.Exact(exec, x, t, logits.data());
        candidates += static_cast<int64_t>(found.size());
        for (const ScoredToken& token : found) wrong += token.logit != logits[static_cast<size_t>(token.token)];
        std::vector<float> sorted = logits;
        std::nth_element(sorted.begin(), sorted.begin() + kLargest - 1, sorted.end(), std::greater<>());
        const float least = sorted[kLargest - 1];
        missed += kLargest - std::count_if(found.begin(), found.end(),
                                           [&](const ScoredToken& token) { return token.logit >= least; });
      }
    }
    CHECK(missed == 0);
    CHECK(wrong == 0);
    // It does leave something out.
    CHECK(candidates < kPositions * kVocab * 3 / 4);
  }
}

}  // namespace hearth
