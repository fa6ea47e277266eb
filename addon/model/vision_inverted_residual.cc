#include "addon/model/vision_blocks.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "addon/ops/norm.h"

namespace hearth {
namespace {

// Values of an expanded map that are there at a time.
constexpr int64_t kBandFloats = 1 << 21;

class InvertedResidual : public VisionBlock {
 public:
  static StatusOr<std::unique_ptr<VisionBlock>> Load(VisionTensors& tensors, const std::string& prefix,
                                                     int64_t in_channels, int64_t stride, bool allow_skip) {
    std::unique_ptr<InvertedResidual> b(new InvertedResidual(stride));
    if (tensors.Has(prefix + "dw_start.conv.weight")) {
      HEARTH_ASSIGN_OR_RETURN(b->start_, tensors.Depthwise(prefix + "dw_start.conv.weight", in_channels));
      HEARTH_ASSIGN_OR_RETURN(b->start_norm_, tensors.Vector(prefix + "dw_start.bn.weight", in_channels));
    }
    HEARTH_ASSIGN_OR_RETURN(b->expand_, tensors.Pointwise(prefix + "pw_exp.conv.weight", -1, in_channels));
    const int64_t mid = b->expand_.rows;
    HEARTH_ASSIGN_OR_RETURN(b->expand_norm_, tensors.Vector(prefix + "pw_exp.bn.weight", mid));
    if (tensors.Has(prefix + "dw_mid.conv.weight")) {
      HEARTH_ASSIGN_OR_RETURN(b->mid_, tensors.Depthwise(prefix + "dw_mid.conv.weight", mid));
      HEARTH_ASSIGN_OR_RETURN(b->mid_norm_, tensors.Vector(prefix + "dw_mid.bn.weight", mid));
    }
    HEARTH_ASSIGN_OR_RETURN(b->project_, tensors.Pointwise(prefix + "pw_proj.conv.weight", -1, mid));
    HEARTH_ASSIGN_OR_RETURN(b->project_norm_, tensors.Vector(prefix + "pw_proj.bn.weight", b->project_.rows));
    HEARTH_RETURN_IF_ERROR(LoadLayerScale(tensors, prefix, b->project_.rows, &b->scale_));
    if (stride != 1 && b->start_.empty() && b->mid_.empty()) {
      return Error(Code::MODEL_UNSUPPORTED,
                   "block %s should halve the resolution but has no depthwise convolution to do it with",
                   prefix.c_str());
    }
    b->skip_ = allow_skip && stride == 1 && b->project_.rows == in_channels;
    return std::unique_ptr<VisionBlock>(std::move(b));
  }

  int64_t out_channels() const override { return project_.rows; }

  void AddMatrices(std::vector<Weight*>* matrices) override {
    if (PanelShape(expand_) && PanelShape(project_)) matrices->insert(matrices->end(), {&expand_, &project_});
  }

  bool in_panels() const override { return expand_.panels != nullptr; }

  Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const override {
    if (in_panels()) {
      if (!mid_.empty()) return RunBands(exec, scratch, in, out);
      return RunPanels(exec, scratch, out, skip_ ? in.data : nullptr,
                       [&](int64_t p, float* pixel, int64_t i, Activations& x) {
                         Start(exec.kernels(), in, stride_, p / out.width, p % out.width, pixel, i, x);
                       });
    }
    FeatureMap x = in;
    if (!start_.empty()) {
      const int64_t stride = mid_.empty() ? stride_ : 1;  // the middle one takes the stride where there is one
      HEARTH_ASSIGN_OR_RETURN(const FeatureMap start, MakeMap(scratch.narrow, SameOutputSize(in.height, stride),
                                                              SameOutputSize(in.width, stride), in.channels));
      DepthwiseConv(exec, start_, stride, x, PixelOps{.norm = start_norm_.data()}, start);
      x = start;
    }
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap wide, MakeMap(scratch.wide, x.height, x.width, expand_.rows));
    const PixelOps after_expand{.norm = expand_norm_.data(), .gelu = true};
    HEARTH_RETURN_IF_ERROR(PointwiseConv(exec, expand_, x.pixels(), after_expand, wide.pixels()));
    x = wide;
    if (!mid_.empty()) {
      HEARTH_ASSIGN_OR_RETURN(const FeatureMap mid, MakeMap(scratch.mid, out.height, out.width, expand_.rows));
      DepthwiseConv(exec, mid_, stride_, x, PixelOps{.norm = mid_norm_.data(), .gelu = true}, mid);
      x = mid;
    }
    const PixelOps after_project{
        .norm = project_norm_.data(), .scale = scale_.data(), .skip = skip_ ? in.data : nullptr};
    return PointwiseConv(exec, project_, x.pixels(), after_project, out.pixels());
  }

  Status RunPixels(Exec& exec, VisionScratch& scratch, const PixelSource& source, FeatureMap out) const override {
    return RunPanels(exec, scratch, out, nullptr,
                     [&](int64_t p, float*, int64_t i, Activations& x) { source(p / out.width, p % out.width, i, x); });
  }

 private:
  using VisionBlock::VisionBlock;

  PixelOps AfterExpand() const { return {.norm = expand_norm_.data(), .gelu = true}; }
  PixelOps AfterProject(const float* skip) const {
    return {.norm = project_norm_.data(), .scale = scale_.data(), .skip = skip};
  }

  // Row i of `x` = pixel (y, x) of what the expansion is applied to. `pixel`: [channels].
  void Start(const hearth_kernels& kernels, FeatureMap in, int64_t stride, int64_t y, int64_t column, float* pixel,
             int64_t i, Activations& x) const {
    if (start_.empty()) return x.Quantise(kernels, i, 0, in.channels, in.pixel(y, column));
    DepthwisePixel(kernels, start_, stride, {in, 0, in.height}, y, column, pixel);
    RmsNormRow(kernels, pixel, start_norm_.data(), kVisionEps, in.channels, pixel);
    x.Quantise(kernels, i, 0, in.channels, pixel);
  }

  // Without a convolution in the middle. prepare(p, pixel, i, x) makes row i of `x` for pixel p.
  template <typename Prepare>
  Status RunPanels(Exec& exec, VisionScratch& scratch, FeatureMap out, const float* skip, Prepare prepare) const {
    const PixelStep steps[] = {{expand_, AfterExpand()}, {project_, AfterProject(skip)}};
    return scratch.tiles.Run(exec, steps, out.pixels(), expand_.cols,
                             [&](int64_t first, int64_t count, PixelTiles::Thread& thread, Activations& x) {
                               for (int64_t i = 0; i < count; ++i) prepare(first + i, thread.pixel.data(), i, x);
                             });
  }

  // With one: a band of the expanded map at a time, as much as a few output rows need.
  Status RunBands(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const {
    const hearth_kernels& kernels = exec.kernels();
    const int64_t row_floats = in.width * expand_.rows;
    const int64_t padding = SamePaddingBefore(in.height, mid_.kernel, stride_);
    const int64_t band = std::max<int64_t>(1, kBandFloats / (row_floats * stride_));  // rows of the output
    const int64_t capacity = std::min(in.height, (band - 1) * stride_ + mid_.kernel);
    HEARTH_ASSIGN_OR_RETURN(FeatureMap wide, MakeMap(scratch.wide, capacity, in.width, expand_.rows));
    const PixelStep expand[] = {{expand_, AfterExpand()}};
    const PixelStep project[] = {{project_, AfterProject(skip_ ? in.data : nullptr)}};
    int64_t first = 0, end = 0;  // rows of the expanded map that are there
    for (int64_t top = 0; top < out.height; top += band) {
      const int64_t bottom = std::min(top + band, out.height);
      const int64_t needed = std::max<int64_t>(0, top * stride_ - padding);
      const int64_t until = std::min(in.height, (bottom - 1) * stride_ - padding + mid_.kernel);
      if (needed > first) {
        const int64_t kept = std::max<int64_t>(0, end - needed);
        std::memmove(wide.data, wide.pixel(needed - first, 0), static_cast<size_t>(kept * row_floats) * sizeof(float));
        first = needed;
        end = needed + kept;
      }
      const MatF fresh(wide.pixel(end - first, 0), (until - end) * in.width, expand_.rows);
      HEARTH_RETURN_IF_ERROR(
          scratch.tiles.Run(exec, expand, fresh, in.channels,
                            [&, end](int64_t begin, int64_t count, PixelTiles::Thread& thread, Activations& x) {
                              for (int64_t i = 0; i < count; ++i) {
                                const int64_t p = end * in.width + begin + i;
                                Start(kernels, in, 1, p / in.width, p % in.width, thread.pixel.data(), i, x);
                              }
                            }));
      end = until;
      const MapRows rows{FeatureMap{wide.data, end - first, in.width, expand_.rows}, first, in.height};
      // The skip is found by a pixel's place in the band: only a block that keeps the resolution has one.
      PixelStep last = project[0];
      if (last.after.skip != nullptr) last.after.skip += top * out.width * out.channels;
      HEARTH_RETURN_IF_ERROR(scratch.tiles.Run(
          exec, {&last, 1}, out.pixels().Rows(top * out.width, (bottom - top) * out.width), expand_.rows,
          [&](int64_t begin, int64_t count, PixelTiles::Thread& thread, Activations& x) {
            float* pixel = thread.pixel.data();
            for (int64_t i = 0; i < count; ++i) {
              DepthwisePixel(kernels, mid_, stride_, rows, top + (begin + i) / out.width, (begin + i) % out.width,
                             pixel);
              ApplyPixelOps(kernels, {.norm = mid_norm_.data(), .gelu = true}, 0, expand_.rows, pixel);
              x.Quantise(kernels, i, 0, expand_.rows, pixel);
            }
          }));
    }
    return Status();
  }

  DepthwiseWeight start_, mid_;  // may be empty; [k, k, in], [k, k, mid]
  Weight expand_;                // [mid, in]
  Weight project_;               // [out, mid]
  AlignedBuffer<float> start_norm_, expand_norm_, mid_norm_, project_norm_;
  AlignedBuffer<float> scale_;  // may be empty; [out]
  bool skip_ = false;
};

}  // namespace

StatusOr<std::unique_ptr<VisionBlock>> LoadInvertedResidual(VisionTensors& tensors, const std::string& prefix,
                                                            int64_t in_channels, int64_t stride, bool allow_skip) {
  return InvertedResidual::Load(tensors, prefix, in_channels, stride, allow_skip);
}

}  // namespace hearth
