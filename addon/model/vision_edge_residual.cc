#include "addon/model/vision_blocks.h"

#include <utility>

namespace hearth {
namespace {

class EdgeResidual : public VisionBlock {
 public:
  static StatusOr<std::unique_ptr<VisionBlock>> Load(VisionTensors& tensors, const std::string& prefix,
                                                     int64_t in_channels, int64_t stride) {
    std::unique_ptr<EdgeResidual> b(new EdgeResidual(stride));
    HEARTH_ASSIGN_OR_RETURN(b->expand_, tensors.Conv(prefix + "conv_exp.weight", -1, in_channels));
    HEARTH_ASSIGN_OR_RETURN(b->expand_norm_, tensors.Vector(prefix + "bn1.weight", b->expand_.out));
    HEARTH_ASSIGN_OR_RETURN(b->project_, tensors.Pointwise(prefix + "conv_pwl.weight", -1, b->expand_.out));
    HEARTH_ASSIGN_OR_RETURN(b->project_norm_, tensors.Vector(prefix + "bn2.weight", b->project_.rows));
    b->skip_ = stride == 1 && b->project_.rows == in_channels;
    return std::unique_ptr<VisionBlock>(std::move(b));
  }

  int64_t out_channels() const override { return project_.rows; }

  void AddMatrices(std::vector<Weight*>* matrices) override {
    // A pixel's channels are cut into blocks of their own.
    if (!PanelShape(expand_.matrix()) || !PanelShape(project_) || expand_.in % HEARTH_PANEL_COLUMNS != 0) return;
    expand_.panels = expand_.matrix();
    matrices->insert(matrices->end(), {&expand_.panels, &project_});
  }
  void Packed() override {
    if (in_panels()) expand_.values = {};
  }
  bool in_panels() const override { return expand_.panels.panels != nullptr; }

  Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const override {
    if (in_panels()) return RunPanels(exec, scratch, in, out);
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap wide, MakeMap(scratch.wide, out.height, out.width, expand_.out));
    const PixelOps after_expand{.norm = expand_norm_.data(), .gelu = true};
    HEARTH_RETURN_IF_ERROR(Conv2d(exec, expand_, stride_, in, after_expand, scratch.patches, wide));
    const PixelOps after_project{.norm = project_norm_.data(), .skip = skip_ ? in.data : nullptr};
    return PointwiseConv(exec, project_, wide.pixels(), after_project, out.pixels());
  }

 private:
  using VisionBlock::VisionBlock;

  Status RunPanels(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const {
    // Every pixel is part of many patches: it is brought into 8 bits once.
    Activations& pixels = scratch.pixels;
    HEARTH_RETURN_IF_ERROR(pixels.Reserve(in.pixel_count(), in.channels, false));
    exec.pool().For(in.pixel_count(), 64, [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) pixels.Quantise(exec.kernels(), p, 0, in.channels, in.pixels().row(p));
    });
    const PixelStep steps[] = {
        {expand_.panels, {.norm = expand_norm_.data(), .gelu = true}},
        {project_, {.norm = project_norm_.data(), .skip = skip_ ? in.data : nullptr}},
    };
    return scratch.tiles.Run(exec, steps, out.pixels(), 0,
                             [&](int64_t first, int64_t count, PixelTiles::Thread&, Activations& x) {
                               for (int64_t i = 0; i < count; ++i) {
                                 GatherPatch(pixels, in.height, in.width, expand_.kernel, stride_,
                                             (first + i) / out.width, (first + i) % out.width, i, &x);
                               }
                             });
  }

  ConvWeight expand_;                  // [mid, k, k, in]
  Weight project_;                     // [out, mid]
  AlignedBuffer<float> expand_norm_;   // [mid]
  AlignedBuffer<float> project_norm_;  // [out]
  bool skip_ = false;
};

}  // namespace

StatusOr<std::unique_ptr<VisionBlock>> LoadEdgeResidual(VisionTensors& tensors, const std::string& prefix,
                                                        int64_t in_channels, int64_t stride) {
  return EdgeResidual::Load(tensors, prefix, in_channels, stride);
}

}  // namespace hearth
