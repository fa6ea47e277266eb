// Brings what a vision or audio encoder made, and the few ids of that modality, into the text decoder's space:
//
//   soft token: encoder output ── RMSNorm (soft weight) ──┐
//                                                         ├── projection ── RMSNorm (no weight) ──> [text hidden]
//   hard token: id ── embedding row ── RMSNorm (hard) ────┘
//
// Hugging Face Gemma3nMultimodalEmbedder. Tensors: PREFIX + {input_projection, soft_emb_norm, hard_emb_norm, embedding}
// + ".weight", with PREFIX "mm." for vision and "mm.a." for audio.
#ifndef HEARTH_MODEL_MULTIMODAL_EMBEDDER_H_
#define HEARTH_MODEL_MULTIMODAL_EMBEDDER_H_

#include <cstdint>
#include <string>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/model/tensor_loader.h"
#include "addon/ops/activations.h"
#include "addon/ops/exec.h"
#include "addon/ops/matmul.h"

namespace hearth {

class MultimodalEmbedder {
 public:
  // Refers to the loader's file, which must outlive it.
  static StatusOr<MultimodalEmbedder> Load(const TensorLoader& loader, const std::string& prefix, int64_t text_hidden);

  // Width of the encoder's output.
  int64_t hidden() const { return projection_.cols; }
  int64_t text_hidden() const { return projection_.rows; }
  // Number of hard tokens.
  int64_t vocab_size() const { return embedding_.rows; }

  // The one that may be kept as panels (PanelWeights).
  Weight* projection() { return &projection_; }

  // in: [n, hidden()], out: [n, text_hidden()]. A row gets the same bits alone and among others.
  Status EmbedSoft(Exec& exec, ConstMatF in, MatF out) const;

  // out[text_hidden()] = hard token `index`, counted from the modality's first id. TOKEN_INVALID outside
  // [0, vocab_size()).
  Status EmbedHard(Exec& exec, int64_t index, float* out) const;

 private:
  // Both kinds of token with their own norm. in: [n, hidden()].
  Status Project(Exec& exec, ConstMatF in, const float* norm, MatF out) const;

  Weight projection_;               // [text_hidden, hidden]
  Weight embedding_;                // [vocab_size, hidden]
  AlignedBuffer<float> soft_norm_;  // [hidden]
  AlignedBuffer<float> hard_norm_;  // [hidden]
};

}  // namespace hearth

#endif  // HEARTH_MODEL_MULTIMODAL_EMBEDDER_H_
