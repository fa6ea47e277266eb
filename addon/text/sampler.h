// Chooses the next token from logits.
//
// Order, as llama.cpp's default chain has it: what the grammar forbids goes first, then top-k, top-p and min-p, all on
// the model's own distribution; the temperature shapes what is left. Greedy takes the largest logit, the lowest id of
// equals.
#ifndef HEARTH_TEXT_SAMPLER_H_
#define HEARTH_TEXT_SAMPLER_H_

#include <cstdint>
#include <span>
#include <vector>

#include "addon/base/scored_token.h"
#include "addon/base/status.h"

namespace hearth {

struct SamplingOptions {
  float temperature = 0;  // 0: greedy
  int top_k = 0;          // 0: off
  float top_p = 1;        // 1: off
  float min_p = 0;        // 0: off
  uint64_t seed = 0;
};

// xoshiro256** (Blackman and Vigna): the same sequence for a seed on every machine.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t Next();
  // [0, 1)
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_[4];
};

class Sampler {
 public:
  // `allowed`: one bit a token, or null for all. OPTION_INVALID for options out of range, GRAMMAR_DEAD_END when nothing
  // is allowed, INTERNAL for logits that are no numbers.
  StatusOr<int32_t> Sample(std::span<const float> logits, const SamplingOptions& options, const uint64_t* allowed);

  // From a list of candidates in order of their ids, which holds the options' top_k (the largest, when greedy).
  StatusOr<int32_t> SampleFrom(std::span<const ScoredToken> candidates, const SamplingOptions& options);

  // How many of the largest logits an answer depends on; 0 for all of them.
  static int64_t Needed(const SamplingOptions& options) { return options.temperature > 0 ? options.top_k : 1; }

  // The random sequence begins anew, as it does whenever another seed comes.
  void Restart() { seeded_ = false; }

 private:
  using Candidate = ScoredToken;

  int32_t Draw(const SamplingOptions& options, float largest);

  std::vector<Candidate> all_, candidates_;
  Random random_{0};
  uint64_t seed_ = 0;
  bool seeded_ = false;
};

}  // namespace hearth

#endif  // HEARTH_TEXT_SAMPLER_H_
