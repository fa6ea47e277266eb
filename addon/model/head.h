// The tied head: one logit for every row of the embedding. A third of the bytes of a decoded token lie here, so a Q8_0
// or Q6_K head is screened first: the upper three (Q6_K: four) bits of its codes give estimates of all logits, one bit
// more gives better ones of the panels that may hold one of the largest (not of Q6_K), and only what is left after that
// is multiplied out.
//
// What an estimate leaves out is sum of step * (low - middle) * x over a row, a step being what a code counts. The
// lower bits of a code are as good as random (they are what rounding left) with a standard deviation of 9.23 (five of
// them), 4.61 (four) or 1.12 (two), so that sum has one of so much times the root of the sum over blocks of (step *
// |x|)^2. That is at most the row's largest step * |x|, and at most the root of |steps^2| * |squares of the blocks'
// |x|| (Cauchy and Schwarz), of which the lower is taken. A row is a candidate unless its estimate lies kDeviations of
// the difference below that of the k-th largest: the chance that a row of the true top k is missed is below 1e-9 a
// token for each estimate, and a test asserts that none is over 10,000 positions.
#ifndef HEARTH_MODEL_HEAD_H_
#define HEARTH_MODEL_HEAD_H_

#include <cstdint>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/scored_token.h"
#include "addon/base/status.h"
#include "addon/base/thread_pool.h"
#include "addon/ops/activations.h"
#include "addon/ops/exec.h"
#include "addon/ops/weight.h"

namespace hearth {

class Head {
 public:
  static constexpr float kDeviations = 6.0f;

  // `w`: [vocab, H]; soft_cap: Config::logit_soft_cap.
  Head(const Weight& w, float soft_cap) : w_(w), soft_cap_(soft_cap) {}

  // The matrix has moved, into panels perhaps (Q8_0 ones of a head: Weight::head); then it is screened where `kernels`
  // can.
  Status Prepare(const hearth_kernels& kernels, const Weight& w);

  // True when Score gives estimates.
  bool screens() const { return steps_.size() > 0; }

  // scores[t, vocab] for `tokens` rows: estimates before the soft-cap when screens(), else the logits.
  Status Score(Exec& exec, const Activations& rows, int64_t tokens, MatF scores) const;

  // Appends the logits of the k largest among the first `ids` ids (of those whose bit in `allowed` is set, if it is not
  // null), and of others that were close, to `out`, in the order of their ids. `row` is the row of `rows` that `scores`
  // was estimated from. Runs on the calling thread when `pool` is null. Fewer than k only when there are no more.
  void Largest(const hearth_kernels& kernels, ThreadPool* pool, const Activations& rows, int64_t row,
               const float* scores, int64_t ids, const uint64_t* allowed, int64_t k,
               std::vector<ScoredToken>* out) const;

  // The logits of a row that was screened, [vocab].
  void Exact(Exec& exec, const Activations& rows, int64_t row, float* logits) const;

 private:
  // Of a row's steps: the largest, and the fourth root of the sum of their fourth powers over its blocks.
  struct Steps {
    float largest = 0, spread = 0;
  };
  class Deviation;

  Weight w_;
  float soft_cap_;
  AlignedBuffer<Steps> steps_;  // [vocab]
  Steps widest_;                // no row has more
};

}  // namespace hearth

#endif  // HEARTH_MODEL_HEAD_H_
