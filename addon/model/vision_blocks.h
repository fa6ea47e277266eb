// The three kinds of block MobileNet-V5 is stacked from. Each takes a feature map and makes the next one.
//
//   edge residual      k x k conv, norm, GELU ─ 1x1, norm ─(+ input)
//   inverted residual  [depthwise, norm] ─ 1x1, norm, GELU ─ [depthwise, norm, GELU] ─ 1x1, norm ─ [scale] ─(+ input)
//   attention          norm ┬─ query 1x1 ───────────────────────┐
//                           ├─ [depthwise s2, norm] ─ key 1x1 ──┼─ multi-query attention ─ 1x1 ─ [scale] ─(+ input)
//                           └─ [depthwise s2, norm] ─ value 1x1 ┘
//
// [ ]: where the file has the tensors; scale: one factor a channel. (+ input): where the shape did not change. Norm:
// RMSNorm over the channels of a pixel. Follows timm EdgeResidual, UniversalInvertedResidual and MobileAttention.
#ifndef HEARTH_MODEL_VISION_BLOCKS_H_
#define HEARTH_MODEL_VISION_BLOCKS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "addon/base/aligned_buffer.h"
#include "addon/base/status.h"
#include "addon/model/vision_tensors.h"
#include "addon/ops/conv.h"
#include "addon/ops/exec.h"
#include "addon/ops/feature_map.h"

namespace hearth {

// Memory of one run through the encoder. A buffer only grows; every block uses the same ones in turn.
struct VisionScratch {
  AlignedBuffer<float> maps[2];  // a block's input and output, in alternation
  AlignedBuffer<float> narrow;   // before the expansion: depthwise start, attention's norm
  AlignedBuffer<float> wide;     // expanded, or queries
  AlignedBuffer<float> mid;      // depthwise in the middle, or attention's result
  AlignedBuffer<float> key, value, down;
  AlignedBuffer<float> patches;
};

// Makes room for a map of that shape. OUT_OF_MEMORY over half a gigabyte: only a malformed model gets there.
StatusOr<FeatureMap> MakeMap(AlignedBuffer<float>& buffer, int64_t height, int64_t width, int64_t channels);

class VisionBlock {
 public:
  virtual ~VisionBlock() = default;

  virtual int64_t out_channels() const = 0;
  int64_t stride() const { return stride_; }

  // out: stride() times smaller than `in` (rounded up), out_channels() deep, and not the same memory.
  virtual Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const = 0;

 protected:
  explicit VisionBlock(int64_t stride) : stride_(stride) {}

  const int64_t stride_;
};

// True when the file has any block at `prefix` ("v.blk.STAGE.INDEX.").
bool HasVisionBlock(const VisionTensors& tensors, const std::string& prefix);

// The block at `prefix`, of the kind its tensors say.
StatusOr<std::unique_ptr<VisionBlock>> LoadVisionBlock(VisionTensors& tensors, const std::string& prefix,
                                                       int64_t in_channels, int64_t stride);

// Inverted residual; also the fusion's feed-forward, which adds nothing back (`allow_skip` false).
StatusOr<std::unique_ptr<VisionBlock>> LoadInvertedResidual(VisionTensors& tensors, const std::string& prefix,
                                                            int64_t in_channels, int64_t stride, bool allow_skip);

}  // namespace hearth

#endif  // HEARTH_MODEL_VISION_BLOCKS_H_
