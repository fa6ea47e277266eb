#include "addon/model/head.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "addon/gguf/block_types.h"
#include "addon/ops/matmul.h"
#include "addon/ops/panels.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

constexpr float kLowHalfDeviation = 4.61f;  // of 0 .. 15, all alike
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

// The k-th largest of the allowed scores, and the id it belongs to; false when there are fewer (then any of them).
bool KthLargest(const float* scores, int64_t ids, const uint64_t* allowed, int64_t k, ScoredToken* kth) {
  const auto larger = [](const ScoredToken& a, const ScoredToken& b) { return a.logit > b.logit; };
  std::vector<ScoredToken> heap;  // the k largest so far, the smallest of them in front
  for (int64_t i = 0; i < ids; ++i) {
    if (static_cast<int64_t>(heap.size()) == k && scores[i] <= heap.front().logit) continue;
    if (!Allowed(allowed, i)) continue;
    if (static_cast<int64_t>(heap.size()) == k) {
      std::pop_heap(heap.begin(), heap.end(), larger);
      heap.pop_back();
    }
    heap.push_back({scores[i], static_cast<int32_t>(i)});
    std::push_heap(heap.begin(), heap.end(), larger);
  }
  if (heap.empty()) return false;
  *kth = heap.front();
  return static_cast<int64_t>(heap.size()) == k;
}

hearth_q8_rows FromRow(const hearth_q8_rows& x, int64_t row) {
  return {x.q + row * x.ldq, x.d + row * x.ldd, x.offset + row * x.ldd, x.ldq, x.ldd};
}

}  // namespace

Status Head::Prepare(const hearth_kernels& kernels, const Weight& w) {
  w_ = w;
  if (w.panels == nullptr || w.type != HEARTH_Q8_0 || kernels.screen_q8_0_q8 == nullptr) return Status();
  HEARTH_RETURN_IF_ERROR(deviation_.Reset(static_cast<size_t>(w.rows)));
  const int64_t blocks = w.cols / 32;
  std::vector<float> scales(static_cast<size_t>(blocks * kPanel));
  for (int64_t p = 0; p < w.rows / kPanel; ++p) {
    kernels.dequantize_f16(w.panels + p * w.panel_bytes + blocks * 256, blocks * kPanel, scales.data());
    for (int64_t r = 0; r < kPanel; ++r) {
      float largest = 0;
      for (int64_t b = 0; b < blocks; ++b) largest = std::max(largest, std::fabs(scales[b * kPanel + r]));
      deviation_[p * kPanel + r] = kLowHalfDeviation * largest;
      largest_deviation_ = std::max(largest_deviation_, deviation_[p * kPanel + r]);
    }
  }
  return Status();
}

Status Head::Score(Exec& exec, const Activations& rows, int64_t tokens, MatF scores) const {
  if (screens()) {
    const hearth_q8_rows x = rows.q8();
    exec.pool().For(w_.rows / kPanel, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) {
        exec.kernels().screen_q8_0_q8(w_.panels + p * w_.panel_bytes, w_.cols / 32, w_.cols / 32, &x, tokens,
                                      scores.data + p * kPanel, scores.stride);
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
  for (int64_t i = 0; i < ids; ++i) {
    if (scores[i] < certain || !Allowed(allowed, i)) continue;
    if (enough && scores[i] < kth.logit - spread * std::hypot(of_kth, deviation_[i])) continue;
    if (i / kPanel != computed) {
      computed = i / kPanel;
      MultiplyPanels(kernels, w_, computed, computed + 1, w_.cols, x, 1, logits, kPanel);
      SoftCapRow(logits, kPanel, soft_cap_);
    }
    out->push_back({logits[i % kPanel], static_cast<int32_t>(i)});
  }
}

Status Head::Exact(Exec& exec, const Activations& rows, int64_t row, float* logits) const {
  const hearth_q8_rows x = FromRow(rows.q8(), row);
  exec.pool().For(w_.rows / kPanel, 1, [&](int64_t begin, int64_t end, int) {
    MultiplyPanels(exec.kernels(), w_, begin, end, w_.cols, x, 1, logits + begin * kPanel, kPanel);
    SoftCapRow(logits + begin * kPanel, (end - begin) * kPanel, soft_cap_);
  });
  return Status();
}

}  // namespace hearth
