// A block of the audio encoder, a conformer: attention for what is near, convolution for what is nearer.
//
//   x ─ half feed-forward:  clamp ─ norm ─ up ─ SiLU ─ down ─ clamp ─ norm ─ x residual weight ─(+ x)
//     ─ local attention:    clamp ─ norm ─ q, k, v ─ attend ─ out ─ clamp ─ norm ─(+ x)
//     ─ light convolution:  norm ─ linear, gated (GLU) ─ depthwise, causal ─ clamp ─ norm ─ SiLU ─ linear ─(+ x)
//     ─ half feed-forward   (weights of its own)
//     ─ clamp ─ norm
//
// attend: a frame sees itself and the `context` frames before it. For query q, already scaled per dimension, and the
// frame j steps back with key k_j and value v_j:
//
//   logit_j = cap tanh(q . (k_j + p_j) / cap)        out = sum over j of softmax(logit)_j v_j
//
// p_j is the position j, as sines and cosines, through linear_pos. Nothing looks ahead, so a stream needs to remember
// the last `context` keys and values and the last few inputs of the convolution, and gets what one pass would give.
//
// Source: Hugging Face transformers 5.18, Gemma3nAudioConformerBlock and its parts. There, queries come in chunks of 12
// with a mask; with no context to the right the chunks change nothing.
#ifndef HEARTH_MODEL_CONFORMER_BLOCK_H_
#define HEARTH_MODEL_CONFORMER_BLOCK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/model/audio_config.h"
#include "addon/model/tensor_loader.h"
#include "addon/ops/activations.h"
#include "addon/ops/exec.h"
#include "addon/ops/matmul.h"

namespace hearth {

class ConformerBlock {
 public:
  // What one stream remembers of the frames that went through this block.
  class State {
   public:
    // Becomes a copy of `other`.
    Status Assign(const State& other);

   private:
    friend class ConformerBlock;
    AlignedBuffer<float> keys_, values_;  // [context, hidden], the newest last
    AlignedBuffer<float> conv_input_;     // [conv_kernel - 1, hidden], zeros before the first frame
    int64_t known_ = 0;                   // keys and values that are there, at most `context`
  };

  // Buffers for `frames` frames at a time, for all blocks in turn.
  class Workspace {
   public:
    // ffn: the widest feed-forward of the blocks.
    Status Allocate(const AudioConfig& config, int64_t ffn, int64_t frames);

   private:
    friend class ConformerBlock;
    Activations normed_;                  // [frames, hidden]; what a product takes
    Activations neurons_;                 // [frames, ffn]
    AlignedBuffer<float> out_;            // [frames, hidden]; what a product gives
    AlignedBuffer<float> keys_, values_;  // [context + frames, hidden]
    AlignedBuffer<float> conv_input_;     // [conv_kernel - 1 + frames, hidden]
    AlignedBuffer<float> gated_;          // [frames, 2 * hidden]
  };

  // Tensors PREFIX + names as in the converter, PREFIX "a.blk.N.".
  static StatusOr<ConformerBlock> Load(const TensorLoader& loader, const std::string& prefix,
                                       const AudioConfig& config);

  // The widest of its feed-forwards.
  int64_t ffn() const { return start_.up.rows > end_.up.rows ? start_.up.rows : end_.up.rows; }

  // Those that may be kept as panels (PanelWeights).
  void AddMatrices(std::vector<Weight*>* matrices);

  // Once, before the first frame.
  Status MakePositions(Exec& exec);

  Status Start(State& state) const;

  // How the frames were cut into calls changes no bit. x: [frames, hidden], the frames after those `state` has seen;
  // changed in place.
  Status Run(Exec& exec, State& state, Workspace& workspace, MatF x) const;

 private:
  struct FeedForward {
    AlignedBuffer<float> pre_norm, post_norm;  // [hidden]
    Weight up;                                 // [ffn, hidden]
    Weight down;                               // [hidden, ffn]
  };

  static StatusOr<FeedForward> LoadFeedForward(const TensorLoader& loader, const std::string& prefix,
                                               const std::string& suffix, int64_t hidden);
  Status RunFeedForward(Exec& exec, const FeedForward& ff, Workspace& ws, MatF x) const;
  Status RunAttention(Exec& exec, State& state, Workspace& ws, MatF x) const;
  // One query row, replaced by what it gathers. keys, values: its own row; those before it lie before it.
  void Attend(const hearth_kernels& kernels, int64_t earlier, ConstMatF keys, ConstMatF values, int64_t row,
              float* query) const;
  // x = clamped, normalised x: what a half of the block starts and ends with.
  void ClampAndNorm(const hearth_kernels& kernels, const float* x, const AlignedBuffer<float>& norm, float* y) const;
  Status RunLightConv(Exec& exec, State& state, Workspace& ws, MatF x) const;

  AudioConfig config_;
  FeedForward start_, end_;
  AlignedBuffer<float> attn_pre_norm_, attn_post_norm_;  // [hidden]
  Weight q_, k_, v_, attn_out_, linear_pos_;             // [hidden, hidden]
  AlignedBuffer<float> query_scale_;                     // [head_dim]
  AlignedBuffer<float> positions_;                       // [context + 1, hidden]: row j for j steps back
  AlignedBuffer<float> conv_pre_norm_, conv_mid_norm_;   // [hidden]
  Weight conv_in_;                                       // [2 * hidden, hidden]: values, then gates
  Weight conv_out_;                                      // [hidden, hidden]
  AlignedBuffer<float> taps_;                            // [conv_kernel, hidden], the newest frame's last
  AlignedBuffer<float> out_norm_;                        // [hidden]
};

}  // namespace hearth

#endif  // HEARTH_MODEL_CONFORMER_BLOCK_H_
