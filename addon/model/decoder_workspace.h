// Buffers for a chunk of tokens on its way through the text decoder.
#ifndef HEARTH_MODEL_DECODER_WORKSPACE_H_
#define HEARTH_MODEL_DECODER_WORKSPACE_H_

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/model/text_decoder.h"
#include "addon/ops/activations.h"
#include "addon/ops/rope.h"

namespace hearth {

// Shapes: C TextDecoder::kMaxChunk, H hidden, P per-layer embedding width, F FFN width, R LAuReL rank, Q query width,
// K key width.
class TextDecoder::Workspace {
 public:
  Status Allocate(const Config& config);
  // What Allocate takes, without what the FFN adds when it first runs on row-major weights.
  static uint64_t Bytes(const Config& config);

 private:
  friend class TextDecoder;

  using Buffer = AlignedBuffer<float>;

  // [kStreams][kMaxChunk, H]
  MatF stream(int i, int64_t tokens) { return MatF(streams_.data() + i * kMaxChunk * hidden_, tokens, hidden_); }
  MatF prediction(int i, int64_t tokens) {
    return MatF(predictions_.data() + i * kMaxChunk * hidden_, tokens, hidden_);
  }
  // [tokens, width], in the FFN of a layer with activation sparsity: where the streams are, which AltUp's correction
  // writes anew from the predictions.
  MatF gate(int64_t tokens, int64_t width) { return MatF(streams_.data(), tokens, width); }
  static int64_t StreamColumns(const Config& config);

  // Keeps the last `keep` of `tokens` rows of the streams, the predictions, the normalised rows and the per-layer
  // inputs.
  void KeepLast(int64_t tokens, int64_t keep);

  int64_t hidden_ = 0, ple_row_ = 0;
  Buffer streams_;  // [4, C, H], or [C, F] where that is more
  Buffer predictions_;
  Buffer ple_;                            // [C, layers * P]
  Activations normed_;                    // [C, H]
  Buffer laurel_, attention_, residual_;  // [C, H]
  Buffer query_;                          // [C, Q]
  Buffer keys_, values_;                  // [C, K]
  Activations attended_;                  // [C, Q]
  Activations low_rank_, gated_;          // [C, R], [C, P]
  Buffer up_;                             // [C, F]; layers with activation sparsity, row-major weights
  AlignedBuffer<int32_t> live_;           // [F]; neurons that are on for a single token
  Activations hidden_neurons_;            // [C, F]
  RopeTable rope_local_, rope_global_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_DECODER_WORKSPACE_H_
