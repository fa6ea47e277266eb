#include "addon/input/mel.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "addon/input/fft.h"

namespace hearth {
namespace {

constexpr int kBands = static_cast<int>(MelExtractor::kBands);
constexpr int kFrameLength = 512;
constexpr int64_t kPadMultiple = 128;
constexpr float kPreEmphasis = 0.97f;
constexpr double kMinHz = 125.0, kMaxHz = 7600.0;
constexpr double kFloor = 1e-5;
// Far beyond any sound, and the difference of two such samples is still finite.
constexpr float kMaxMagnitude = 1e30f;

double HzToMel(double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); }
double MelToHz(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

// Everything that does not depend on the sound.
struct Tables {
  RealFft fft;
  std::array<float, kFrameLength> window;
  // Band b weighs bins [first[b], first[b] + count[b]); its weights start at weights[start[b]]. Every bin lies under
  // two triangles at most.
  std::array<int, kBands> first, count, start;
  std::array<double, 2 * RealFft::kBins> weights;

  Tables() {
    for (int i = 0; i < kFrameLength; ++i) {
      window[i] = static_cast<float>(0.5 * (1.0 - std::cos(2.0 * std::numbers::pi * i / kFrameLength)));
    }
    std::array<double, kBands + 2> edges;
    const double low = HzToMel(kMinHz), high = HzToMel(kMaxHz);
    for (int i = 0; i < kBands + 2; ++i) edges[i] = MelToHz(low + (high - low) * i / (kBands + 1));
    int used = 0;
    for (int b = 0; b < kBands; ++b) {
      first[b] = count[b] = 0;
      start[b] = used;
      for (int k = 0; k < RealFft::kBins; ++k) {
        const double hz = static_cast<double>(k) * MelExtractor::kSampleRateHz / RealFft::kSize;
        const double rising = (hz - edges[b]) / (edges[b + 1] - edges[b]);
        const double falling = (edges[b + 2] - hz) / (edges[b + 2] - edges[b + 1]);
        const double weight = std::min(rising, falling);
        if (weight <= 0.0) continue;
        if (count[b]++ == 0) first[b] = k;
        weights[used++] = weight;
      }
    }
  }
};

const Tables& SharedTables() {
  static const Tables tables;
  return tables;
}

// frame: [512] samples; out: [kBands].
void LogMel(const float* frame, float* out) {
  const Tables& tables = SharedTables();
  // Single precision up to the FFT, as in training: the rounding of these two products is audible in silent bands.
  // The first sample needs no care: the window starts at 0.
  double input[RealFft::kSize] = {};
  for (int i = 1; i < kFrameLength; ++i) {
    const float emphasised = frame[i] - kPreEmphasis * frame[i - 1];
    input[i] = emphasised * tables.window[i];
  }
  double magnitudes[RealFft::kBins];
  tables.fft.Magnitudes(input, magnitudes);
  for (int b = 0; b < kBands; ++b) {
    double sum = 0.0;
    const double* weights = tables.weights.data() + tables.start[b];
    for (int i = 0; i < tables.count[b]; ++i) sum += weights[i] * magnitudes[tables.first[b] + i];
    out[b] = static_cast<float>(std::log(std::max(sum, kFloor)));
  }
}

}  // namespace

Status MelExtractor::Feed(const float* samples, int64_t n, const Sink& sink) {
  if (n < 0 || n > kMaxSamples - samples_) {
    return Error(Code::AUDIO_INVALID, "a clip may have %lld samples (30 s at 16 kHz); this one has %lld and %lld more",
                 static_cast<long long>(kMaxSamples), static_cast<long long>(samples_), static_cast<long long>(n));
  }
  for (int64_t i = 0; i < n; ++i) {
    if (!(std::fabs(samples[i]) <= kMaxMagnitude)) {  // nor for one that is not a number
      return Error(Code::AUDIO_INVALID, "sample %lld is %g; samples are finite numbers, as a rule in [-1, 1]",
                   static_cast<long long>(samples_ + i), static_cast<double>(samples[i]));
    }
  }
  samples_ += n;
  return Take(samples, n, sink);
}

Status MelExtractor::Finish(const Sink& sink) {
  if (samples_ < kMinSamples) {
    return Error(Code::AUDIO_INVALID, "a clip of %lld samples is too short; at least %lld (32 ms at 16 kHz) are needed",
                 static_cast<long long>(samples_), static_cast<long long>(kMinSamples));
  }
  const float zeros[kPadMultiple] = {};
  return Take(zeros, (kPadMultiple - samples_ % kPadMultiple) % kPadMultiple, sink);
}

Status MelExtractor::Take(const float* samples, int64_t n, const Sink& sink) {
  constexpr int64_t kNeeded = kFrame + 1;
  while (n > 0) {
    const int64_t taken = std::min(n, kNeeded - pending_count_);
    std::copy_n(samples, taken, pending_.begin() + pending_count_);
    pending_count_ += taken;
    samples += taken;
    n -= taken;
    if (pending_count_ < kNeeded) break;
    float frame[kBands];
    LogMel(pending_.data(), frame);
    std::copy(pending_.begin() + kHop, pending_.end(), pending_.begin());
    pending_count_ -= kHop;
    HEARTH_RETURN_IF_ERROR(sink(frame));
  }
  return Status();
}

}  // namespace hearth
