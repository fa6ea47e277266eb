// The mel front end against the values that Hugging Face's feature extractor computes.
#include "addon/input/mel.h"

#include <doctest/doctest.h>

#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "addon/input/fft.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::Golden;
using test::MaxDifference;
using test::OpenGguf;

std::vector<float> Noise(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> samples(n);
  for (float& s : samples) s = static_cast<float>(random()) / 4294967296.0f - 0.5f;
  return samples;
}

struct Result {
  Status status;
  std::vector<float> frames;
};

// Feeds pieces of the given lengths in turn (0: all that is left).
Result Extract(const std::vector<float>& samples, const std::vector<size_t>& pieces) {
  Result result;
  MelExtractor mel;
  const MelExtractor::Sink sink = [&](const float* frame) {
    result.frames.insert(result.frames.end(), frame, frame + MelExtractor::kBands);
    return Status();
  };
  for (size_t at = 0, i = 0; at < samples.size() && result.status.ok(); ++i) {
    const size_t piece = pieces[i % pieces.size()];
    const size_t n = piece == 0 ? samples.size() - at : std::min(piece, samples.size() - at);
    result.status = mel.Feed(samples.data() + at, static_cast<int64_t>(n), sink);
    at += n;
  }
  if (result.status.ok()) result.status = mel.Finish(sink);
  return result;
}

TEST_CASE("the FFT's magnitudes are those of the defining sum") {
  const RealFft fft;
  const std::vector<float> noise = Noise(RealFft::kSize, 1);
  const std::vector<double> input(noise.begin(), noise.end());
  std::vector<double> magnitudes(RealFft::kBins);
  fft.Magnitudes(input.data(), magnitudes.data());
  for (const int k : {0, 1, 2, 255, 256, 257, 511, 512}) {
    std::complex<double> sum = 0;
    for (int n = 0; n < RealFft::kSize; ++n) {
      sum += input[n] * std::polar(1.0, -2.0 * std::numbers::pi * ((k * n) % RealFft::kSize) / RealFft::kSize);
    }
    CHECK(magnitudes[k] == doctest::Approx(std::abs(sum)).epsilon(1e-12));
  }
}

TEST_CASE("log-mel frames of recordings are the reference's") {
  const auto golden = OpenGguf("test/fixtures/models/nano.golden.gguf");
  int clips = 0;
  for (int i = 0; i < 3; ++i) {
    const std::string clip = "audio" + std::to_string(i);
    const GgufTensor* tensor = golden->Find(clip + ".samples");
    if (tensor == nullptr) continue;
    ++clips;
    const float* samples = Golden<float>(*golden, clip + ".samples");
    const Result mel = Extract(std::vector<float>(samples, samples + tensor->elements()), {0});
    REQUIRE_MESSAGE(mel.status.ok(), mel.status.message());
    REQUIRE(static_cast<int64_t>(mel.frames.size()) == golden->Find(clip + ".mel")->elements());
    CHECK(MaxDifference(mel.frames.data(), Golden<float>(*golden, clip + ".mel"), mel.frames.size()) < 1e-3f);
  }
  CHECK(clips >= 1);
}

TEST_CASE("how a clip is cut into pieces changes no bit") {
  const std::vector<float> samples = Noise(20001, 2);
  const Result whole = Extract(samples, {0});
  REQUIRE(whole.status.ok());
  // 20001 samples are padded to 20096, which hold (20096 - 513) / 160 + 1 frames.
  CHECK(whole.frames.size() == 123 * MelExtractor::kBands);
  for (const std::vector<size_t>& pieces :
       std::vector<std::vector<size_t>>{{1}, {160}, {513}, {512, 1}, {7, 1000, 3, 159}, {4096}}) {
    CHECK(Extract(samples, pieces).frames == whole.frames);
  }
}

TEST_CASE("silence is the floor, log(1e-5)") {
  const Result mel = Extract(std::vector<float>(16000), {0});
  REQUIRE(mel.status.ok());
  for (const float value : mel.frames) REQUIRE(value == doctest::Approx(-11.512925));
}

TEST_CASE("a clip too short for a frame, too long, or not finite is refused") {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{512}}) {
    const Result mel = Extract(std::vector<float>(n), {0});
    CHECK(mel.status.code() == Code::AUDIO_INVALID);
    CHECK(mel.status.message().find("at least 513") != std::string::npos);
  }
  const Result shortest = Extract(std::vector<float>(513), {0});
  CHECK(shortest.status.ok());
  CHECK(shortest.frames.size() == MelExtractor::kBands);

  const Result longest = Extract(std::vector<float>(MelExtractor::kMaxSamples), {0});
  CHECK(longest.status.ok());
  CHECK(longest.frames.size() == 2997 * MelExtractor::kBands);
  CHECK(Extract(std::vector<float>(MelExtractor::kMaxSamples + 1), {0}).status.code() == Code::AUDIO_INVALID);
  CHECK(Extract(std::vector<float>(MelExtractor::kMaxSamples + 1), {1000}).status.code() == Code::AUDIO_INVALID);

  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> samples = Noise(2000, 3);
    samples[1234] = bad;
    const Result mel = Extract(samples, {100});
    CHECK(mel.status.code() == Code::AUDIO_INVALID);
    CHECK(mel.status.message().find("sample 1234 ") != std::string::npos);
  }
}

TEST_CASE("absurdly loud samples give finite frames or are refused") {
  std::vector<float> samples = Noise(2000, 4);
  samples[7] = std::numeric_limits<float>::max();
  CHECK(Extract(samples, {0}).status.code() == Code::AUDIO_INVALID);
  for (float& s : samples) s = s > 0 ? 1e30f : -1e30f;
  const Result mel = Extract(samples, {0});
  REQUIRE(mel.status.ok());
  for (const float value : mel.frames) REQUIRE(std::isfinite(value));
}

TEST_CASE("a refused piece leaves the clip as it was") {
  const std::vector<float> samples = Noise(2000, 5);
  std::vector<float> frames;
  const MelExtractor::Sink sink = [&](const float* frame) {
    frames.insert(frames.end(), frame, frame + MelExtractor::kBands);
    return Status();
  };
  MelExtractor mel;
  REQUIRE(mel.Feed(samples.data(), 1000, sink).ok());
  const float bad[2] = {0.0f, NAN};
  CHECK(mel.Feed(bad, 2, sink).code() == Code::AUDIO_INVALID);
  REQUIRE(mel.Feed(samples.data() + 1000, 1000, sink).ok());
  REQUIRE(mel.Finish(sink).ok());
  CHECK(frames == Extract(samples, {0}).frames);
}

}  // namespace
}  // namespace hearth
