// MobileNet-V5: a picture becomes 256 soft tokens.
//
//   picture, any size ── resize ──> [S, S, 3]            S = 256, 512 or 768
//     stem      3x3 conv s2, bias, norm, GELU            S/2
//     stage 0   edge residuals                           S/4     `v.blk.0.*`
//     stage 1   inverted residuals                       S/8
//     stage 2   inverted residuals, attention            S/16 ──────────────┐
//     stage 3   inverted residuals, attention            S/32 ── x2 nearest ┴─ concat
//     fusion    inverted residual without skip           S/16     `v.msfa.*`
//               mean of each block (or bilinear)         16
//               norm                                     [16, 16, 2048]
//   row by row to [256, 2048] ── x sqrt(2048) ── MultimodalEmbedder ──> [256, text hidden]
//
// The first block of a stage halves the resolution. Which blocks there are, their kinds and all widths follow from the
// tensors in the file: the released encoder (timm mobilenetv5_300m_enc, 84 blocks) and small ones load alike.
#ifndef HEARTH_MODEL_VISION_ENCODER_H_
#define HEARTH_MODEL_VISION_ENCODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/gguf/gguf.h"
#include "addon/input/image.h"
#include "addon/model/multimodal_embedder.h"
#include "addon/model/panel_weights.h"
#include "addon/model/vision_blocks.h"
#include "addon/ops/exec.h"

namespace hearth {

class VisionEncoder {
 public:
  static constexpr int64_t kGrid = 16;  // soft tokens a side
  static constexpr int64_t kSoftTokens = kGrid * kGrid;

  static StatusOr<std::unique_ptr<VisionEncoder>> Load(std::shared_ptr<const GgufFile> file, int64_t text_hidden);

  // Has the matrices multiplied in 8 bits from now on, as far as `kernels` can and their shapes allow; without it
  // everything is float32, from the weights as they are stored. Once, before the first picture.
  Status Pack(const hearth_kernels& kernels, ThreadPool& pool);

  const MultimodalEmbedder& embedder() const { return *embedder_; }
  // Width of the encoder's own output.
  int64_t hidden() const { return embedder_->hidden(); }
  int64_t block_count() const { return static_cast<int64_t>(blocks_.size()); }

  // out: [kSoftTokens, text hidden]. size: a multiple of 32, up to 1024. IMAGE_INVALID, OPTION_INVALID, OUT_OF_MEMORY.
  // The result does not depend on the number of threads.
  Status Encode(Exec& exec, const RgbView& image, int64_t size, MatF out) const;

  // The part between resize and embedder. pixels: [size, size, 3] in [0, 1]; out: [kSoftTokens, hidden()].
  Status EncodePixels(Exec& exec, const float* pixels, int64_t size, MatF out) const;

  // The end: features [kSoftTokens, hidden()], which are scaled in place, to out [kSoftTokens, text hidden].
  Status EmbedFeatures(Exec& exec, MatF features, MatF out) const;

 private:
  VisionEncoder() = default;
  Status LoadAll(int64_t text_hidden);
  Status LoadStages(class VisionTensors& tensors, int64_t channels);
  Status Fuse(Exec& exec, VisionScratch& scratch, FeatureMap fine, FeatureMap coarse, FeatureMap out) const;

  std::shared_ptr<const GgufFile> file_;  // the weights point into it
  ConvWeight stem_;                       // [stem, 3, 3, 3]
  AlignedBuffer<float> stem_bias_;        // may be empty; [stem]
  AlignedBuffer<float> stem_norm_;        // [stem]
  std::vector<std::unique_ptr<VisionBlock>> blocks_;
  size_t fine_end_ = 0;  // blocks before the last stage: their output is the finer input of the fusion
  std::unique_ptr<VisionBlock> fusion_;
  AlignedBuffer<float> fusion_norm_;  // [hidden]
  std::unique_ptr<MultimodalEmbedder> embedder_;
  PanelWeights panels_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_VISION_ENCODER_H_
