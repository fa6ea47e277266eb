#include "addon/model/head.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "addon/gguf/block_types.h"
#include "addon/ops/float4.h"
#include "addon/ops/matmul.h"
#include "addon/ops/panels.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// The screen of a head's type, and the standard deviation of the lower bits that it leaves out, all alike; null for a
// type without.
struct Screen {
  hearth_panel_fn estimate = nullptr;
  float low_deviation = 0;
};

Screen ScreenOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
    case HEARTH_Q8_0:
      return {kernels.screen_q8_0_q8, 4.61f};  // of 0 .. 15
    case HEARTH_Q6_K:
      return {kernels.screen_q6_k_q8, 1.12f};  // of 0 .. 3
  }
  return {};
}

constexpr int64_t kPanel = HEARTH_PANEL_ROWS;

// |x| of a row in 8 bits.
float Norm(const hearth_q8_rows& x, int64_t row, int64_t cols) {
  double sum = 0;
  for (int64_t b = 0; b < cols / 32; ++b) {
    int32_t squares = 0;
    const int8_t* q = x.q + row * x.ldq + b * 32;
    for (int i = 0; i < 32; ++i) squares += q[i] * q[i];
    const double d = x.d[row * x.ldd + b];
    sum += d * d * squares;
  }
  return static_cast<float>(std::sqrt(sum));
}

bool Allowed(const uint64_t* allowed, int64_t id) {
  return allowed == nullptr || (allowed[id / 64] >> (id % 64) & 1) != 0;
}

// Whether one of a panel's scores is at least so much.
bool Reaches(const float* scores, float least) {
  static_assert(kPanel == 16);
  const auto larger = [](Float4 a, Float4 b) { return a > b ? a : b; };
  const Float4 most = larger(larger(Load4(scores), Load4(scores + 4)), larger(Load4(scores + 8), Load4(scores + 12)));
  return !(std::max(std::max(most[0], most[1]), std::max(most[2], most[3])) < least);
}

// Calls visit(id) for the ids of all panels that have a score of at least `least`, which may grow on the way: nearly
// all panels have none, and are passed over 16 at a time.
template <typename Visit>
void ForPanelsThatReach(const float& least, const float* scores, int64_t ids, Visit&& visit) {
  for (int64_t begin = 0; begin < ids; begin += kPanel) {
    const int64_t end = std::min(ids, begin + kPanel);
    if (end - begin == kPanel && !Reaches(scores + begin, least)) continue;
    for (int64_t i = begin; i < end; ++i) visit(i);
  }
}

// The k-th largest of the allowed scores, and the id it belongs to; false when there are fewer (then any of them).
bool KthLargest(const float* scores, int64_t ids, const uint64_t* allowed, int64_t k, ScoredToken* kth) {
  const auto larger = [](const ScoredToken& a, const ScoredToken& b) { return a.logit > b.logit; };
  std::vector<ScoredToken> heap;  // the k largest so far, the smallest of them in front
  float least = -INFINITY;        // what the next of them must be larger than, once there are k
  ForPanelsThatReach(least, scores, ids, [&](int64_t i) {
    const bool full = static_cast<int64_t>(heap.size()) == k;
    if ((full && scores[i] <= least) || !Allowed(allowed, i)) return;
    if (full) {
      std::pop_heap(heap.begin(), heap.end(), larger);
      heap.pop_back();
    }
    heap.push_back({scores[i], static_cast<int32_t>(i)});
    std::push_heap(heap.begin(), heap.end(), larger);
    if (static_cast<int64_t>(heap.size()) == k) least = heap.front().logit;
  });
  if (heap.empty()) return false;
  *kth = heap.front();
  return static_cast<int64_t>(heap.size()) == k;
}

hearth_q8_rows FromRow(const hearth_q8_rows& x, int64_t row) {
  return {x.q + row * x.ldq, x.d + row * x.ldd, x.offset + row * x.ldd, x.ldq, x.ldd};
}

// largest[16] = the largest step from a code to the next, in size, of each row of panel p (scales: kernels/kernels.h).
void LargestSteps(const hearth_kernels& kernels, const Weight& w, int64_t p, std::vector<float>& scratch,
                  float* largest) {
  const int64_t blocks = w.cols / 32;
  const uint8_t* scales = w.panels + p * w.panel_bytes + blocks * 256;
  std::fill(largest, largest + kPanel, 0.0f);
  if (w.type == HEARTH_Q8_0) {
    scratch.resize(static_cast<size_t>(blocks * kPanel));
    kernels.dequantize_f16(scales, blocks * kPanel, scratch.data());
    for (int64_t i = 0; i < blocks * kPanel; ++i)
      largest[i % kPanel] = std::max(largest[i % kPanel], std::fabs(scratch[static_cast<size_t>(i)]));
    return;
  }
  for (int64_t b = 0; b < blocks; b += 8, scales += 288) {
    float d[kPanel];
    int widest[kPanel] = {};
    kernels.dequantize_f16(scales, kPanel, d);
    for (int64_t i = 0; i < 16 * kPanel; ++i)
      widest[i % kPanel] = std::max(widest[i % kPanel], std::abs(static_cast<int8_t>(scales[32 + i])));
    for (int64_t r = 0; r < kPanel; ++r)
      largest[r] = std::max(largest[r], std::fabs(d[r]) * static_cast<float>(widest[r]));
  }
}

}  // namespace

Status Head::Prepare(const hearth_kernels& kernels, const Weight& w) {
  w_ = w;
  const Screen screen = ScreenOf(kernels, w.type);
  if (w.panels == nullptr || screen.estimate == nullptr) return Status();
  HEARTH_RETURN_IF_ERROR(deviation_.Reset(static_cast<size_t>(w.rows)));
  std::vector<float> scratch;
  for (int64_t p = 0; p < w.rows / kPanel; ++p) {
    float* largest = &deviation_[p * kPanel];
    LargestSteps(kernels, w, p, scratch, largest);
    for (int64_t r = 0; r < kPanel; ++r) {
      largest[r] *= screen.low_deviation;
      largest_deviation_ = std::max(largest_deviation_, largest[r]);
    }
  }
  return Status();
}

Status Head::Score(Exec& exec, const Activations& rows, int64_t tokens, MatF scores) const {
  if (screens()) {
    const hearth_q8_rows x = rows.q8();
    const hearth_panel_fn estimate = ScreenOf(exec.kernels(), w_.type).estimate;
    exec.pool().For(w_.rows / kPanel, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) {
        estimate(w_.panels + p * w_.panel_bytes, w_.cols / 32, w_.cols / 32, &x, tokens, scores.data + p * kPanel,
                 scores.stride);
      }
    });
    return Status();
  }
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{w_, rows, scores}}));
  exec.pool().For(w_.rows, 1024, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = 0; t < tokens; ++t) SoftCapRow(scores.row(t) + begin, end - begin, soft_cap_);
  });
  return Status();
}

void Head::Largest(const hearth_kernels& kernels, const Activations& rows, int64_t row, const float* scores,
                   int64_t ids, const uint64_t* allowed, int64_t k, std::vector<ScoredToken>* out) const {
  const hearth_q8_rows x = FromRow(rows.q8(), row);
  const float spread = kDeviations * Norm(rows.q8(), row, w_.cols);
  ScoredToken kth{};
  const bool enough = KthLargest(scores, ids, allowed, k, &kth);
  const float of_kth = deviation_[kth.token], widest = std::hypot(of_kth, largest_deviation_);
  // Most rows are out by the widest of margins already.
  const float certain = enough ? kth.logit - spread * widest : -INFINITY;
  float logits[kPanel];
  int64_t computed = -1;  // the panel whose logits are in hand
  ForPanelsThatReach(certain, scores, ids, [&](int64_t i) {
    if (scores[i] < certain || !Allowed(allowed, i)) return;
    if (enough && scores[i] < kth.logit - spread * std::hypot(of_kth, deviation_[i])) return;
    if (i / kPanel != computed) {
      computed = i / kPanel;
      MultiplyPanels(kernels, w_, computed, computed + 1, w_.cols, x, 1, logits, kPanel);
      SoftCapRow(logits, kPanel, soft_cap_);
    }
    out->push_back({logits[i % kPanel], static_cast<int32_t>(i)});
  });
}

void Head::Exact(Exec& exec, const Activations& rows, int64_t row, float* logits) const {
  const hearth_q8_rows x = FromRow(rows.q8(), row);
  exec.pool().For(w_.rows / kPanel, 1, [&](int64_t begin, int64_t end, int) {
    MultiplyPanels(exec.kernels(), w_, begin, end, w_.cols, x, 1, logits + begin * kPanel, kPanel);
    SoftCapRow(logits + begin * kPanel, (end - begin) * kPanel, soft_cap_);
  });
}

}  // namespace hearth
