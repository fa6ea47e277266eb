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
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/status.h"
#include "addon/model/vision_tensors.h"
#include "addon/ops/conv.h"
#include "addon/ops/exec.h"
#include "addon/ops/feature_map.h"
#include "addon/ops/panel_attention.h"
#include "addon/ops/pixel_tiles.h"

namespace hearth {

// Memory of one run through the encoder. A buffer only grows; every block uses the same ones in turn.
struct VisionScratch {
  AlignedBuffer<float> maps[2];  // a block's input and output, in alternation
  AlignedBuffer<float> narrow;   // before the expansion: depthwise start, attention's norm
  AlignedBuffer<float> wide;     // expanded, or queries
  AlignedBuffer<float> mid;      // depthwise in the middle, or attention's result
  AlignedBuffer<float> key, value, down;
  AlignedBuffer<float> patches;
  // What blocks in panels take besides (of the above: maps, narrow, a band of wide, key and value).
  AlignedBuffer<float> fine;  // the fusion's finer input
  Activations pixels;         // a map in 8 bits
  PixelTiles tiles;
  PanelAttention attention;
};

inline constexpr float kVisionEps = 1e-6f;  // timm RmsNorm2d

// Makes room for a map of that shape. OUT_OF_MEMORY over half a gigabyte: only a malformed model gets there.
StatusOr<FeatureMap> MakeMap(AlignedBuffer<float>& buffer, int64_t height, int64_t width, int64_t channels);

class VisionBlock {
 public:
  virtual ~VisionBlock() = default;

  virtual int64_t out_channels() const = 0;
  int64_t stride() const { return stride_; }

  // Adds the matrices to be put into panels: all there are, or none where they do not have the shape for it. The block
  // multiplies in 8 bits once they are, and `Packed` has been called.
  virtual void AddMatrices(std::vector<Weight*>* matrices) = 0;
  virtual void Packed() {}
  virtual bool in_panels() const { return false; }

  // out: stride() times smaller than `in` (rounded up), out_channels() deep, and not the same memory.
  virtual Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const = 0;

  // As Run, its input a pixel at a time: source(y, x, i, rows) makes row i of `rows` pixel (y, x). Of an inverted
  // residual in panels that has no depthwise convolution and adds nothing back: the fusion.
  using PixelSource = std::function<void(int64_t y, int64_t x, int64_t i, Activations& rows)>;
  virtual Status RunPixels(Exec&, VisionScratch&, const PixelSource&, FeatureMap) const {
    return Error(Code::INTERNAL, "the block cannot be run a pixel at a time");
  }

 protected:
  explicit VisionBlock(int64_t stride) : stride_(stride) {}

  const int64_t stride_;
};

// True when the file has any block at `prefix` ("v.blk.STAGE.INDEX.").
bool HasVisionBlock(const VisionTensors& tensors, const std::string& prefix);

// The block at `prefix`, of the kind its tensors say.
StatusOr<std::unique_ptr<VisionBlock>> LoadVisionBlock(VisionTensors& tensors, const std::string& prefix,
                                                       int64_t in_channels, int64_t stride);

// The kinds. Load* expects the tensors that LoadVisionBlock chooses them by.
StatusOr<std::unique_ptr<VisionBlock>> LoadEdgeResidual(VisionTensors& tensors, const std::string& prefix,
                                                        int64_t in_channels, int64_t stride);
StatusOr<std::unique_ptr<VisionBlock>> LoadMobileAttention(VisionTensors& tensors, const std::string& prefix,
                                                           int64_t in_channels, int64_t stride);
// Inverted residual; also the fusion's feed-forward, which adds nothing back (`allow_skip` false).
StatusOr<std::unique_ptr<VisionBlock>> LoadInvertedResidual(VisionTensors& tensors, const std::string& prefix,
                                                            int64_t in_channels, int64_t stride, bool allow_skip);

// For the kinds: the optional layer scale of a block, and whether a matrix can be cut into panels.
Status LoadLayerScale(VisionTensors& tensors, const std::string& prefix, int64_t channels, AlignedBuffer<float>* scale);
inline bool PanelShape(const Weight& w) {
  return w.rows % HEARTH_PANEL_ROWS == 0 && w.cols % HEARTH_PANEL_COLUMNS == 0;
}

}  // namespace hearth

#endif  // HEARTH_MODEL_VISION_BLOCKS_H_
