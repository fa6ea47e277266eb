#include "addon/text/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace hearth {

Random::Random(uint64_t seed) {
  // splitmix64, as the authors of xoshiro advise, so that small seeds give unlike states.
  for (uint64_t& word : state_) {
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
}

uint64_t Random::Next() {
  const auto rotate = [](uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
  const uint64_t result = rotate(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotate(state_[3], 45);
  return result;
}

StatusOr<int32_t> Sampler::Sample(std::span<const float> logits, const SamplingOptions& options, const uint64_t* allowed) {
  if (!(options.temperature >= 0) || options.top_k < 0 || !(options.top_p >= 0 && options.top_p <= 1) ||
      !(options.min_p >= 0 && options.min_p <= 1)) {
    return Error(Code::OPTION_INVALID, "temperature %g, topK %d, topP %g, minP %g: not all are in range", options.temperature,
                 options.top_k, options.top_p, options.min_p);
  }
  candidates_.clear();
  Candidate best{-INFINITY, -1};
  for (size_t i = 0; i < logits.size(); ++i) {
    if (allowed != nullptr && (allowed[i / 64] >> (i % 64) & 1) == 0) continue;
    if (std::isnan(logits[i])) return Error(Code::INTERNAL, "the logit of token %zu is no number", i);
    const Candidate candidate{logits[i], static_cast<int32_t>(i)};
    if (best.token < 0 || candidate.logit > best.logit) best = candidate;
    if (options.temperature > 0) candidates_.push_back(candidate);
  }
  if (best.token < 0) return Error(Code::GRAMMAR_DEAD_END, "no token of the vocabulary continues the reply under its schema");
  if (options.temperature == 0) return best.token;
  if (!seeded_ || options.seed != seed_) {
    random_ = Random(options.seed);
    seed_ = options.seed;
    seeded_ = true;
  }
  return Draw(options);
}

int32_t Sampler::Draw(const SamplingOptions& options) {
  const auto larger = [](const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.token < b.token; };
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options.top_k, candidates_.end(), larger);
    candidates_.resize(static_cast<size_t>(options.top_k));
  }
  std::sort(candidates_.begin(), candidates_.end(), larger);
  const double largest = candidates_.front().logit;
  const auto weigh = [&](double temperature) {
    weights_.clear();
    for (const Candidate& candidate : candidates_) weights_.push_back(std::exp((candidate.logit - largest) / temperature));
    return std::accumulate(weights_.begin(), weights_.end(), 0.0);
  };
  const double total = weigh(1.0);
  size_t keep = 0;
  for (double sum = 0; keep < candidates_.size() && (keep == 0 || sum < options.top_p * total); ++keep) sum += weights_[keep];
  while (keep > 1 && weights_[keep - 1] < options.min_p) --keep;
  candidates_.resize(keep);

  double left = random_.Uniform() * weigh(options.temperature);
  for (size_t i = 0; i < keep; ++i) {
    left -= weights_[i];
    if (left < 0) return candidates_[i].token;
  }
  return candidates_.back().token;
}

}  // namespace hearth
