// The shape of the audio encoder: from its tensors where they tell, else from the file's keys, else as released.
#ifndef HEARTH_MODEL_AUDIO_CONFIG_H_
#define HEARTH_MODEL_AUDIO_CONFIG_H_

#include <cstdint>

#include "addon/base/status.h"
#include "addon/gguf/gguf.h"

namespace hearth {

// What a clip is in the prompt, however short: 30 s of tokens.
inline constexpr int64_t kAudioSoftTokens = 188;
// Mel frames they come from: 4 to an encoder frame, 4 of those to a token. A clip of 30 s has 2997.
inline constexpr int64_t kMaxAudioFrames = 16 * kAudioSoftTokens;

// What a file may ask for: frames of context, and values of a frame anywhere between two layers.
inline constexpr int64_t kMaxAudioContext = 255;
inline constexpr int64_t kMaxAudioWidth = 1 << 16;

struct AudioConfig {
  int64_t hidden;  // width of a frame between the blocks; even
  int64_t blocks;
  int64_t heads;
  int64_t head_dim;     // heads * head_dim = hidden
  int64_t context;      // earlier frames a frame attends to, besides itself
  int64_t conv_kernel;  // taps of the depthwise convolution over time
  int64_t reduction;    // encoder frames to a token
  float logit_cap;
  float residual_weight;  // of a feed-forward's output
  float clip;             // activations are held within [-clip, clip]
  float norm_eps;
  float group_norm_eps;  // of the strided convolutions' norms

  // Reads and checks; MODEL_INCOMPLETE, MODEL_MISMATCH, MODEL_UNSUPPORTED (a context to the right: not causal).
  static StatusOr<AudioConfig> Load(const GgufFile& file);
};

}  // namespace hearth

#endif  // HEARTH_MODEL_AUDIO_CONFIG_H_
