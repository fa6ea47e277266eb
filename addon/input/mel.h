// Sound on its way to the audio encoder: 16 kHz mono in, a frame of 128 log-mel values every 10 ms out.
//
//   clip ── zeros up to a multiple of 128 samples ── a frame every 160 samples, as long as 513 are left:
//     512 samples ── pre-emphasis within the frame: x[i] - 0.97 x[i-1] (HTK; the first, x 0.03, meets a window of 0)
//                 ── periodic Hann window ── zeros to 1024 ── FFT ── magnitude, 513 bins
//                 ── 128 triangles, evenly spaced on the HTK mel scale (2595 log10(1 + f/700)), 125 to 7600 Hz
//                 ── log(max(x, 1e-5))
//
// Source: Hugging Face transformers 5.18, models/gemma3n/feature_extraction_gemma3n.py. The 513th sample only decides
// whether there is a frame. There is no mask here: a clip's padding is shorter than a frame, so every frame is sound.
#ifndef HEARTH_INPUT_MEL_H_
#define HEARTH_INPUT_MEL_H_

#include <array>
#include <cstdint>
#include <functional>

#include "addon/base/status.h"

namespace hearth {

// Makes frames while sound arrives; remembers less than a frame of samples. How the sound was cut into pieces changes
// nothing, bit by bit. One object for each clip.
class MelExtractor {
 public:
  static constexpr int64_t kSampleRateHz = 16000;
  static constexpr int64_t kBands = 128;
  static constexpr int64_t kHop = 160;
  static constexpr int64_t kMinSamples = 513;                 // fewer hold no frame
  static constexpr int64_t kMaxSamples = 30 * kSampleRateHz;  // what the model was trained for

  // Takes a frame, [kBands], before the next one is made; an error ends the call that made it.
  using Sink = std::function<Status(const float* frame)>;

  // The next `n` samples, any number, nominally in [-1, 1]. AUDIO_INVALID when one is not finite (or beyond
  // 1e30), or the clip gets longer than kMaxSamples; nothing of the piece is taken then.
  Status Feed(const float* samples, int64_t n, const Sink& sink);

  // The clip has ended: makes its last frames. AUDIO_INVALID when there were less than kMinSamples.
  Status Finish(const Sink& sink);

  int64_t samples() const { return samples_; }

 private:
  static constexpr int64_t kFrame = 512;

  Status Take(const float* samples, int64_t n, const Sink& sink);

  std::array<float, kFrame + 1> pending_ = {};  // from the next frame's first sample on
  int64_t pending_count_ = 0;
  int64_t samples_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_INPUT_MEL_H_
