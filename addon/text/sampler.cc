#include "addon/text/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

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

StatusOr<int32_t> Sampler::Sample(std::span<const float> logits, const SamplingOptions& options,
                                  const uint64_t* allowed) {
  // Greedy needs no list.
  if (options.temperature == 0) {
    ScoredToken best{0, -1};
    for (size_t i = 0; i < logits.size(); ++i) {
      if (allowed != nullptr && (allowed[i / 64] >> (i % 64) & 1) == 0) continue;
      if (!(logits[i] <= best.logit) || best.token < 0) best = {logits[i], static_cast<int32_t>(i)};
      if (std::isnan(logits[i])) break;
    }
    return SampleFrom(std::span<const ScoredToken>(&best, best.token < 0 ? 0 : 1), options);
  }
  all_.clear();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (allowed == nullptr || (allowed[i / 64] >> (i % 64) & 1) != 0)
      all_.push_back({logits[i], static_cast<int32_t>(i)});
  }
  return SampleFrom(all_, options);
}

StatusOr<int32_t> Sampler::SampleFrom(std::span<const ScoredToken> candidates, const SamplingOptions& options) {
  if (!(options.temperature >= 0) || options.top_k < 0 || !(options.top_p >= 0 && options.top_p <= 1) ||
      !(options.min_p >= 0 && options.min_p <= 1)) {
    return Error(Code::OPTION_INVALID, "temperature %g, topK %d, topP %g, minP %g: not all are in range",
                 options.temperature, options.top_k, options.top_p, options.min_p);
  }
  Candidate best{-INFINITY, -1};
  for (const ScoredToken& candidate : candidates) {
    if (std::isnan(candidate.logit))
      return Error(Code::INTERNAL, "the logit of token %d is no number", candidate.token);
    if (best.token < 0 || candidate.logit > best.logit) best = candidate;
  }
  if (best.token < 0)
    return Error(Code::GRAMMAR_DEAD_END, "no token of the vocabulary continues the reply under its schema");
  // Where the largest is infinite there are no probabilities.
  if (options.temperature == 0 || std::isinf(best.logit)) return best.token;
  if (!seeded_ || options.seed != seed_) {
    random_ = Random(options.seed);
    seed_ = options.seed;
    seeded_ = true;
  }
  candidates_.assign(candidates.begin(), candidates.end());
  return Draw(options, best.logit);
}

int32_t Sampler::Draw(const SamplingOptions& options, float largest) {
  const auto less = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit < b.logit : a.token > b.token;
  };
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < candidates_.size()) {
    const auto end = candidates_.begin() + options.top_k;
    std::nth_element(candidates_.begin(), end, candidates_.end(),
                     [&](const Candidate& a, const Candidate& b) { return less(b, a); });
    candidates_.erase(end, candidates_.end());
  }
  const auto weight = [&](const Candidate& candidate, double temperature) {
    return std::exp((static_cast<double>(candidate.logit) - largest) / temperature);
  };
  size_t first = 0;  // of the candidates that are kept, which are the last
  if (options.top_p < 1 || options.min_p > 0) {
    double total = 0;
    for (const Candidate& candidate : candidates_) total += weight(candidate, 1);
    // Takes the likeliest off a heap until there are enough; a few of a large vocabulary, as a rule.
    std::make_heap(candidates_.begin(), candidates_.end(), less);
    first = candidates_.size();
    for (double sum = 0; first > 0; --first) {
      const double next = weight(candidates_.front(), 1);
      if (first < candidates_.size() && (sum >= options.top_p * total || next < options.min_p)) break;
      sum += next;
      std::pop_heap(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(first), less);
    }
  }
  const std::span<const Candidate> kept = std::span<const Candidate>(candidates_).subspan(first);
  double left = 0;
  for (const Candidate& candidate : kept) left += weight(candidate, options.temperature);
  left *= random_.Uniform();
  for (const Candidate& candidate : kept) {
    left -= weight(candidate, options.temperature);
    if (left < 0) return candidate.token;
  }
  // Rounding left something over: the last that can be drawn at all.
  for (size_t i = kept.size(); i-- > 0;) {
    if (weight(kept[i], options.temperature) > 0) return kept[i].token;
  }
  return kept.back().token;
}

}  // namespace hearth
