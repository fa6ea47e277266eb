// The audio encoder, a Universal Speech Model: a clip of at most 30 s becomes up to 188 soft tokens, one for 160 ms.
//
//   samples ── MelExtractor ──> [T, 128], a frame every 10 ms
//     strided conv 0   3x3 s2, cumulative group norm, ReLU    [T/2, 64 bands, c0]       `a.conv1d.0.*`
//     strided conv 1   3x3 s2, cumulative group norm, ReLU    [T/4, 32 bands, c1]       `a.conv1d.1.*`
//     linear over (band, channel)                             [T/4, hidden], 40 ms      `a.input_projection`
//     conformer blocks (conformer_block.h), 12 as released    [T/4, hidden]             `a.blk.N.*`
//     every 4th frame                                         [T/16, hidden], 160 ms
//     MultimodalEmbedder                                      [T/16, text hidden]       `mm.a.*`
//   up to 188 rows: the embedder's last hard token, as in training
//
// The network is causal but for the strided convolutions, each of which looks two rows ahead. So it runs while sound
// arrives: AudioStream keeps a little context for each layer, Encode is a stream that is fed everything at once, and
// there is one implementation of both.
//
// Source: Hugging Face transformers 5.18, models/gemma3n/modeling_gemma3n.py (Gemma3nAudioEncoder,
// Gemma3nModel.forward). Its masks hide nothing here: a stream holds one clip, whose frames are all sound.
#ifndef HEARTH_MODEL_AUDIO_ENCODER_H_
#define HEARTH_MODEL_AUDIO_ENCODER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/gguf/gguf.h"
#include "addon/input/mel.h"
#include "addon/model/audio_config.h"
#include "addon/model/conformer_block.h"
#include "addon/model/multimodal_embedder.h"
#include "addon/model/panel_weights.h"
#include "addon/model/subsample_conv.h"
#include "addon/ops/activations.h"
#include "addon/ops/exec.h"
#include "addon/ops/matmul.h"

namespace hearth {

class AudioStream;

// Const once it is prepared; each clip has its own AudioStream.
class AudioEncoder {
 public:
  static constexpr int64_t kSoftTokens = kAudioSoftTokens;

  static StatusOr<std::unique_ptr<AudioEncoder>> Load(std::shared_ptr<const GgufFile> file, int64_t text_hidden);

  // Once, before the first stream. Matrices go into panels and are multiplied in 8 bits, as far as the kernels can;
  // `exact` leaves them as they are stored, for float32.
  Status Prepare(Exec& exec, bool exact);
  // Bytes of memory the matrices take in panels, and bytes they have in the file.
  uint64_t PackedBytes(const hearth_kernels& kernels) const;
  uint64_t StoredBytes() const;

  const AudioConfig& config() const { return config_; }
  const MultimodalEmbedder& embedder() const { return *embedder_; }
  // Width of the encoder's own output.
  int64_t hidden() const { return config_.hidden; }

  // A whole clip, mono at 16 kHz. out: [kSoftTokens, text hidden], of which the first `valid` rows are sound and the
  // others padding. AUDIO_INVALID for a clip that is too short, too long or not finite (MelExtractor); OUT_OF_MEMORY.
  // The result does not depend on the number of threads.
  Status Encode(Exec& exec, const float* samples, int64_t n, MatF out, int64_t* valid) const;

  // What a finished stream made, as Encode gives it.
  Status Take(Exec& exec, const AudioStream& stream, MatF out) const;

 private:
  friend class AudioStream;

  AudioEncoder() = default;
  Status LoadAll(int64_t text_hidden);
  std::vector<Weight*> Matrices();

  std::shared_ptr<const GgufFile> file_;  // the weights point into it
  AudioConfig config_;
  std::array<SubsampleConv, 2> convs_;
  Weight input_projection_;  // [hidden, bands * channels of the second convolution]
  std::vector<ConformerBlock> blocks_;
  std::unique_ptr<MultimodalEmbedder> embedder_;
  PanelWeights panels_;
};

// One clip on its way through the encoder. However its frames arrive and however many go through the blocks together,
// the tokens are the same bit by bit.
class AudioStream {
 public:
  // Encoder frames (of 40 ms) that go through the blocks together. Many are less work each: the blocks' weights make
  // fewer trips from memory. Few come out sooner.
  static constexpr int64_t kWholeClip = 192;
  static constexpr int64_t kLive = 32;

  // The encoder must outlive the stream.
  static StatusOr<std::unique_ptr<AudioStream>> Start(const AudioEncoder& encoder, int64_t chunk);

  // Goes on where `other`, a stream of the same encoder with the same chunk, has got to; that goes its own way.
  Status Assign(const AudioStream& other);

  // The next frame from a MelExtractor, [MelExtractor::kBands]. AUDIO_INVALID past kMaxAudioFrames. After any error the
  // stream is of no more use.
  Status Feed(Exec& exec, const float* mel);

  // The clip has ended: brings out the last tokens.
  Status Finish(Exec& exec);

  // What there is so far, and will not change: tokens() rows.
  int64_t tokens() const { return tokens_; }
  ConstMatF soft_tokens() const { return ConstMatF(soft_.data(), tokens_, encoder_.embedder().text_hidden()); }
  // Before the embedder.
  ConstMatF encoded() const { return ConstMatF(encoded_.data(), tokens_, encoder_.hidden()); }

 private:
  AudioStream(const AudioEncoder& encoder, int64_t chunk) : encoder_(encoder), chunk_(chunk) {}
  Status Allocate();
  Status RunConvs(Exec& exec, bool end);
  Status RunChunk(Exec& exec, int64_t frames);

  const AudioEncoder& encoder_;
  const int64_t chunk_;
  std::array<SubsampleConv::State, 2> convs_;
  std::vector<ConformerBlock::State> blocks_;
  ConformerBlock::Workspace workspace_;
  Activations features_;          // frames waiting for their chunk, [up to chunk + kMaxOutput, bands * channels]
  AlignedBuffer<float> hidden_;   // [chunk, hidden]
  AlignedBuffer<float> encoded_;  // [kSoftTokens, hidden]
  AlignedBuffer<float> soft_;     // [kSoftTokens, text hidden]
  int64_t mel_frames_ = 0;        // taken
  int64_t waiting_ = 0;           // rows of features_
  int64_t frames_ = 0;            // that went through the blocks
  int64_t tokens_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_AUDIO_ENCODER_H_
