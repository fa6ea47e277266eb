#include "addon/text/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace hearth {
namespace {

std::vector<int> Histogram(std::span<const float> logits, SamplingOptions options, int draws,
                           const uint64_t* allowed = nullptr) {
  Sampler sampler;
  std::vector<int> counts(logits.size());
  for (int i = 0; i < draws; ++i) {
    const StatusOr<int32_t> token = sampler.Sample(logits, options, allowed);
    REQUIRE(token.ok());
    ++counts[static_cast<size_t>(token.value())];
  }
  return counts;
}

}  // namespace

TEST_CASE("greedy takes the largest, the lowest id of equals, and only what is allowed") {
  const std::vector<float> logits = {1, 5, 5, -2, 4};
  Sampler sampler;
  CHECK(sampler.Sample(logits, {}, nullptr).value() == 1);
  const uint64_t without_fives = 0b11001;
  CHECK(sampler.Sample(logits, {}, &without_fives).value() == 4);
  const uint64_t nothing = 0;
  CHECK(sampler.Sample(logits, {}, &nothing).status().code() == Code::GRAMMAR_DEAD_END);
  const std::vector<float> low = {-INFINITY, -INFINITY};
  CHECK(sampler.Sample(low, {}, nullptr).value() == 0);
}

TEST_CASE("draws follow the distribution") {
  // Probabilities 0.1, 0.2, 0.3, 0.4.
  std::vector<float> logits;
  for (const double p : {0.1, 0.2, 0.3, 0.4}) logits.push_back(static_cast<float>(std::log(p)));
  SamplingOptions options;
  options.temperature = 1;
  options.seed = 7;
  const std::vector<int> plain = Histogram(logits, options, 20'000);
  for (int i = 0; i < 4; ++i) CHECK(std::fabs(plain[static_cast<size_t>(i)] / 20'000.0 - 0.1 * (i + 1)) < 0.015);

  options.top_k = 2;
  CHECK(Histogram(logits, options, 2000)[0] + Histogram(logits, options, 2000)[1] == 0);
  options.top_k = 0;
  options.top_p = 0.65f;  // 0.4 is not enough, 0.4 + 0.3 is
  const std::vector<int> nucleus = Histogram(logits, options, 2000);
  CHECK(nucleus[0] + nucleus[1] == 0);
  CHECK(nucleus[2] > 0);
  options.top_p = 1;
  options.min_p = 0.6f;  // at least 0.6 of the likeliest's 0.4
  const std::vector<int> likely = Histogram(logits, options, 2000);
  CHECK(likely[0] + likely[1] == 0);
  CHECK(likely[2] > 0);
  options.min_p = 0;
  options.top_p = 0;  // keeps the likeliest
  CHECK(Histogram(logits, options, 200)[3] == 200);

  options.top_p = 1;
  options.temperature = 0.25f;
  CHECK(Histogram(logits, options, 20'000)[3] > 14'000);  // 0.4^4 / sum p^4 = 0.723
  const uint64_t first_two = 0b0011;
  const std::vector<int> masked = Histogram(logits, options, 2000, &first_two);
  CHECK(masked[2] + masked[3] == 0);
}

TEST_CASE("sampler: filters in turn, ties by id, infinities") {
  // Eight equals: top-k keeps the lowest ids, and so does top-p.
  const std::vector<float> equal(8, 1.5f);
  SamplingOptions options;
  options.temperature = 1;
  options.seed = 3;
  options.top_k = 3;
  std::vector<int> counts = Histogram(equal, options, 600);
  CHECK(counts[0] + counts[1] + counts[2] == 600);
  CHECK(std::min({counts[0], counts[1], counts[2]}) > 100);
  options.top_p = 0.5f;  // of the three that are left: two
  counts = Histogram(equal, options, 600);
  CHECK(counts[0] + counts[1] == 600);
  CHECK(counts[1] > 100);

  options = {};
  options.temperature = 1;
  const std::vector<float> impossible = {-INFINITY, 0, -INFINITY, 0};
  counts = Histogram(impossible, options, 400);
  CHECK(counts[1] + counts[3] == 400);
  Sampler sampler;
  CHECK(sampler.Sample(std::vector<float>{-INFINITY, -INFINITY}, options, nullptr).value() == 0);
  CHECK(sampler.Sample(std::vector<float>{0, INFINITY, INFINITY}, options, nullptr).value() == 1);
  options.temperature = 1e-30f;
  CHECK(sampler.Sample(std::vector<float>{0, 1, 0.999f}, options, nullptr).value() == 1);
  options.temperature = 1e30f;
  counts = Histogram(std::vector<float>{0, 50}, options, 1000);
  CHECK(counts[0] > 400);
}

TEST_CASE("a seed gives the same sequence on every machine") {
  Random random(42);
  // xoshiro256** seeded by splitmix64(42): values of the authors' reference code.
  CHECK(random.Next() == 0x15780b2e0c2ec716);
  CHECK(random.Next() == 0x6104d9866d113a7e);
  CHECK(random.Next() == 0xae17533239e499a1);
}

TEST_CASE("options and logits that cannot be") {
  const std::vector<float> logits = {1, 2}, broken = {1, NAN};
  Sampler sampler;
  const auto code = [&](SamplingOptions options) { return sampler.Sample(logits, options, nullptr).status().code(); };
  SamplingOptions options;
  options.temperature = -1;
  CHECK(code(options) == Code::OPTION_INVALID);
  options = {};
  options.top_p = 1.5f;
  CHECK(code(options) == Code::OPTION_INVALID);
  options = {};
  options.min_p = NAN;
  CHECK(code(options) == Code::OPTION_INVALID);
  options = {};
  options.top_k = -1;
  CHECK(code(options) == Code::OPTION_INVALID);
  CHECK(sampler.Sample(broken, {}, nullptr).status().code() == Code::INTERNAL);
  CHECK(sampler.Sample({}, {}, nullptr).status().code() == Code::GRAMMAR_DEAD_END);
}

}  // namespace hearth
