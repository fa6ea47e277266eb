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

// The screens of a head's type, and the standard deviation of the bits that each leaves out, all alike; null where
// there is none.
struct Screen {
  hearth_panel_fn estimate = nullptr;
  float deviation = 0;
  hearth_panel_fn refine = nullptr;
  float refined_deviation = 0;
};

Screen ScreenOf(const hearth_kernels& kernels, const Weight& w) {
  switch (w.type) {
    case HEARTH_Q8_0:
      if (!w.head) return {};
      return {kernels.screen_q8_0_q8, 9.23f, kernels.refine_q8_0_q8, 4.61f};  // of 0 .. 31, 0 .. 15
    case HEARTH_Q6_K:
      return {kernels.screen_q6_k_q8, 1.12f};  // of 0 .. 3
  }
  return {};
}

constexpr int64_t kPanel = HEARTH_PANEL_ROWS;

// With fewer panels than this it takes longer to wake the other threads.
constexpr int64_t kWorthSharing = 16;

template <typename Body>
void ForPanels(ThreadPool* pool, int64_t count, Body&& body) {
  if (pool == nullptr || count < kWorthSharing) {
    body(0, count, 0);
  } else {
    pool->For(count, 1, body);
  }
}

// Which tokens may be chosen.
struct Choice {
  int64_t ids;
  const uint64_t* allowed;  // a bit for each, or null for all

  bool Has(int64_t id) const { return id < ids && (allowed == nullptr || (allowed[id / 64] >> (id % 64) & 1) != 0); }
};

// Scores of the 16 rows of each of some panels.
struct Estimates {
  const float* scores;    // [count, 16]
  const int32_t* panels;  // [count], ascending; null: the first ones
  int64_t count;

  int64_t FirstId(int64_t i) const { return (panels == nullptr ? i : panels[i]) * kPanel; }
};

// Whether one of a panel's scores is at least so much.
bool Reaches(const float* scores, float least) {
  static_assert(kPanel == 16);
  const auto larger = [](Float4 a, Float4 b) { return a > b ? a : b; };
  const Float4 most = larger(larger(Load4(scores), Load4(scores + 4)), larger(Load4(scores + 8), Load4(scores + 12)));
  return !(std::max(std::max(most[0], most[1]), std::max(most[2], most[3])) < least);
}

// Calls visit(id, score) for the rows of all panels that have a score of at least `least`, which may grow on the way:
// nearly all panels have none, and are passed over 16 rows at a time.
template <typename Visit>
void ForPanelsThatReach(const float& least, const Estimates& estimates, Visit&& visit) {
  for (int64_t p = 0; p < estimates.count; ++p) {
    const float* scores = estimates.scores + p * kPanel;
    if (!Reaches(scores, least)) continue;
    const int64_t first = estimates.FirstId(p);
    for (int64_t r = 0; r < kPanel; ++r) visit(first + r, scores[r]);
  }
}

// The k-th largest score of a choice, and the id it belongs to; false when there are fewer (then any of them).
bool KthLargest(const Estimates& estimates, const Choice& choice, int64_t k, ScoredToken* kth) {
  const auto larger = [](const ScoredToken& a, const ScoredToken& b) { return a.logit > b.logit; };
  std::vector<ScoredToken> heap;  // the k largest so far, the smallest of them in front
  float least = -INFINITY;        // what the next of them must be larger than, once there are k
  ForPanelsThatReach(least, estimates, [&](int64_t id, float score) {
    const bool full = static_cast<int64_t>(heap.size()) == k;
    if ((full && score <= least) || !choice.Has(id)) return;
    if (full) {
      std::pop_heap(heap.begin(), heap.end(), larger);
      heap.pop_back();
    }
    heap.push_back({score, static_cast<int32_t>(id)});
    std::push_heap(heap.begin(), heap.end(), larger);
    if (static_cast<int64_t>(heap.size()) == k) least = heap.front().logit;
  });
  if (heap.empty()) return false;
  *kth = heap.front();
  return static_cast<int64_t>(heap.size()) == k;
}

// The panels that rows, in order of their ids, lie in.
std::vector<int32_t> PanelsOf(const std::vector<int32_t>& rows) {
  std::vector<int32_t> panels;
  for (const int32_t row : rows) {
    const int32_t panel = row / static_cast<int32_t>(kPanel);
    if (panels.empty() || panels.back() != panel) panels.push_back(panel);
  }
  return panels;
}

hearth_q8_rows FromRow(const hearth_q8_rows& x, int64_t row) {
  return {x.q + row * x.ldq, x.d + row * x.ldd, x.offset + row * x.ldd, x.ldq, x.ldd};
}

// steps[cols / 32][16] = the largest step from a code to the next, in size, of each block of each row of panel p.
void StepsOfPanel(const hearth_kernels& kernels, const Weight& w, int64_t p, float* steps) {
  const int64_t blocks = w.cols / 32;
  const uint8_t* scales = PanelScales(w, p);
  if (w.type == HEARTH_Q8_0) {
    kernels.dequantize_f16(scales, blocks * kPanel, steps);
    for (int64_t i = 0; i < blocks * kPanel; ++i) steps[i] = std::fabs(steps[i]);
    return;
  }
  for (int64_t b = 0; b < blocks; b += 8, scales += 288) {
    float d[kPanel];
    kernels.dequantize_f16(scales, kPanel, d);
    const int8_t* halves = reinterpret_cast<const int8_t*>(scales) + 32;  // [16][kPanel]
    for (int64_t i = 0; i < 8 * kPanel; ++i) {
      const int8_t* both = halves + i / kPanel * 2 * kPanel + i % kPanel;
      steps[b * kPanel + i] =
          std::fabs(d[i % kPanel]) * static_cast<float>(std::max(std::abs(both[0]), std::abs(both[kPanel])));
    }
  }
}

}  // namespace

// The standard deviation of what estimates of one row of activations leave out, but for that of the low bits.
class Head::Deviation {
 public:
  Deviation(const Head& head, const hearth_q8_rows& x) : head_(head) {
    double squares = 0, fourths = 0;
    for (int64_t b = 0; b < head.w_.cols / 32; ++b) {
      int32_t sum = 0;
      for (int i = 0; i < 32; ++i) sum += x.q[b * 32 + i] * x.q[b * 32 + i];
      const double square = static_cast<double>(x.d[b]) * x.d[b] * sum;
      squares += square;
      fourths += square * square;
    }
    norm_ = static_cast<float>(std::sqrt(squares));
    spread_ = static_cast<float>(std::sqrt(std::sqrt(fourths)));
  }

  float Of(int64_t id) const { return Of(head_.steps_[id]); }
  float Widest() const { return Of(head_.widest_); }

  // The rows, in order, whose estimate may be that of one of the k largest.
  std::vector<int32_t> Candidates(const Estimates& estimates, const Choice& choice, int64_t k,
                                  float low_deviation) const {
    std::vector<int32_t> rows;
    ScoredToken kth{};
    const float scale = kDeviations * low_deviation;
    const bool enough = KthLargest(estimates, choice, k, &kth);
    const float of_kth = Of(kth.token);
    // Most rows are out by the widest of margins already.
    const float certain = enough ? kth.logit - scale * std::hypot(of_kth, Widest()) : -INFINITY;
    ForPanelsThatReach(certain, estimates, [&](int64_t id, float score) {
      if (score < certain || !choice.Has(id)) return;
      if (enough && score < kth.logit - scale * std::hypot(of_kth, Of(id))) return;
      rows.push_back(static_cast<int32_t>(id));
    });
    return rows;
  }

 private:
  float Of(const Steps& steps) const { return std::min(steps.largest * norm_, steps.spread * spread_); }

  const Head& head_;
  float norm_, spread_;  // |x|, and the fourth root of the sum of the fourth powers of the blocks' |x|
};

Status Head::Prepare(const hearth_kernels& kernels, const Weight& w) {
  w_ = w;
  if (w.panels == nullptr || ScreenOf(kernels, w).estimate == nullptr) return Status();
  HEARTH_RETURN_IF_ERROR(steps_.Reset(static_cast<size_t>(w.rows)));
  const int64_t blocks = w.cols / 32;
  std::vector<float> of_panel(static_cast<size_t>(blocks * kPanel));
  for (int64_t p = 0; p < w.rows / kPanel; ++p) {
    StepsOfPanel(kernels, w, p, of_panel.data());
    float largest[kPanel] = {}, fourths[kPanel] = {};
    for (int64_t i = 0; i < blocks * kPanel; ++i) {
      const float step = of_panel[static_cast<size_t>(i)], square = step * step;
      largest[i % kPanel] = std::max(largest[i % kPanel], step);
      fourths[i % kPanel] += square * square;
    }
    for (int64_t r = 0; r < kPanel; ++r) {
      const Steps steps = {largest[r], std::sqrt(std::sqrt(fourths[r]))};
      widest_ = {std::max(widest_.largest, steps.largest), std::max(widest_.spread, steps.spread)};
      steps_[p * kPanel + r] = steps;
    }
  }
  return Status();
}

Status Head::Score(Exec& exec, const Activations& rows, int64_t tokens, MatF scores) const {
  if (screens()) {
    const hearth_q8_rows x = rows.q8();
    const hearth_panel_fn estimate = ScreenOf(exec.kernels(), w_).estimate;
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

void Head::Largest(const hearth_kernels& kernels, ThreadPool* pool, const Activations& rows, int64_t row,
                   const float* scores, int64_t ids, const uint64_t* allowed, int64_t k,
                   std::vector<ScoredToken>* out) const {
  const hearth_q8_rows x = FromRow(rows.q8(), row);
  const Screen screen = ScreenOf(kernels, w_);
  const Deviation deviation(*this, x);
  const Choice choice = {ids, allowed};
  std::vector<int32_t> left =
      deviation.Candidates({scores, nullptr, (ids + kPanel - 1) / kPanel}, choice, k, screen.deviation);
  std::vector<int32_t> panels = PanelsOf(left);
  std::vector<float> values(panels.size() * kPanel);  // [panels][16]
  if (screen.refine != nullptr && static_cast<int64_t>(panels.size()) > k) {
    ForPanels(pool, static_cast<int64_t>(panels.size()), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        screen.refine(w_.panels + panels[i] * w_.panel_bytes, w_.cols / 32, w_.cols / 32, &x, 1,
                      values.data() + i * kPanel, kPanel);
      }
    });
    left = deviation.Candidates({values.data(), panels.data(), static_cast<int64_t>(panels.size())}, choice, k,
                                screen.refined_deviation);
    panels = PanelsOf(left);
  }
  ForPanels(pool, static_cast<int64_t>(panels.size()), [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      MultiplyPanels(kernels, w_, panels[i], panels[i] + 1, w_.cols, x, 1, values.data() + i * kPanel, kPanel);
      SoftCapRow(values.data() + i * kPanel, kPanel, soft_cap_);
    }
  });
  auto panel = panels.begin();
  for (const int32_t id : left) {
    while (*panel != id / kPanel) ++panel;
    out->push_back({values[static_cast<size_t>((panel - panels.begin()) * kPanel + id % kPanel)], id});
  }
}

void Head::Exact(Exec& exec, const Activations& rows, int64_t row, float* logits) const {
  const hearth_q8_rows x = FromRow(rows.q8(), row);
  exec.pool().For(w_.rows / kPanel, 1, [&](int64_t begin, int64_t end, int) {
    MultiplyPanels(exec.kernels(), w_, begin, end, w_.cols, x, 1, logits + begin * kPanel, kPanel);
    SoftCapRow(logits + begin * kPanel, (end - begin) * kPanel, soft_cap_);
  });
}

}  // namespace hearth
