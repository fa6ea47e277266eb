#include "addon/model/vision_blocks.h"

#include <utility>

#include "addon/ops/multi_query_attention.h"
#include "addon/ops/norm.h"

namespace hearth {
namespace {

constexpr float kEps = 1e-6f;  // timm RmsNorm2d
constexpr int64_t kMaxMapFloats = 1 << 27;
constexpr int64_t kKvStride = 2;

// Loads the optional layer scale of a block.
Status LoadLayerScale(VisionTensors& tensors, const std::string& prefix, int64_t channels,
                      AlignedBuffer<float>* scale) {
  const std::string name = prefix + "layer_scale.gamma";
  if (!tensors.Has(name)) return Status();
  HEARTH_ASSIGN_OR_RETURN(*scale, tensors.Vector(name, channels));
  return Status();
}

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

  Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const override {
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap wide, MakeMap(scratch.wide, out.height, out.width, expand_.out));
    const PixelOps after_expand{.norm = expand_norm_.data(), .gelu = true};
    HEARTH_RETURN_IF_ERROR(Conv2d(exec, expand_, stride_, in, after_expand, scratch.patches, wide));
    const PixelOps after_project{.norm = project_norm_.data(), .skip = skip_ ? in.data : nullptr};
    return PointwiseConv(exec, project_, wide.pixels(), after_project, out.pixels());
  }

 private:
  using VisionBlock::VisionBlock;

  ConvWeight expand_;                  // [mid, k, k, in]
  Weight project_;                     // [out, mid]
  AlignedBuffer<float> expand_norm_;   // [mid]
  AlignedBuffer<float> project_norm_;  // [out]
  bool skip_ = false;
};

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

  Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const override {
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

 private:
  using VisionBlock::VisionBlock;

  DepthwiseWeight start_, mid_;  // may be empty; [k, k, in], [k, k, mid]
  Weight expand_;                // [mid, in]
  Weight project_;               // [out, mid]
  AlignedBuffer<float> start_norm_, expand_norm_, mid_norm_, project_norm_;
  AlignedBuffer<float> scale_;  // may be empty; [out]
  bool skip_ = false;
};

class MobileAttention : public VisionBlock {
 public:
  static StatusOr<std::unique_ptr<VisionBlock>> Load(VisionTensors& tensors, const std::string& prefix,
                                                     int64_t in_channels, int64_t stride) {
    if (stride != 1) {
      return Error(Code::MODEL_UNSUPPORTED, "block %s opens a stage, which halves the resolution; attention cannot",
                   prefix.c_str());
    }
    std::unique_ptr<MobileAttention> b(new MobileAttention(stride));
    HEARTH_ASSIGN_OR_RETURN(b->norm_, tensors.Vector(prefix + "norm.weight", in_channels));
    HEARTH_ASSIGN_OR_RETURN(b->query_, tensors.Pointwise(prefix + "attn.query.proj.weight", -1, in_channels));
    const bool down = tensors.Has(prefix + "attn.key.down_conv.weight");
    HEARTH_RETURN_IF_ERROR(b->key_.Load(tensors, prefix + "attn.key.", in_channels, down));
    HEARTH_RETURN_IF_ERROR(b->value_.Load(tensors, prefix + "attn.value.", in_channels, down));
    const int64_t key_dim = b->key_.project.rows;
    if (b->query_.rows % key_dim != 0) {
      return Error(Code::MODEL_MISMATCH,
                   "tensor %sattn.query.proj.weight has %lld rows; a multiple of the key's %lld is expected",
                   prefix.c_str(), static_cast<long long>(b->query_.rows), static_cast<long long>(key_dim));
    }
    b->heads_ = b->query_.rows / key_dim;
    HEARTH_ASSIGN_OR_RETURN(
        b->output_, tensors.Pointwise(prefix + "attn.output.proj.weight", -1, b->heads_ * b->value_.project.rows));
    HEARTH_RETURN_IF_ERROR(LoadLayerScale(tensors, prefix, b->output_.rows, &b->scale_));
    b->skip_ = b->output_.rows == in_channels;
    return std::unique_ptr<VisionBlock>(std::move(b));
  }

  int64_t out_channels() const override { return output_.rows; }

  Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const override {
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap x, MakeMap(scratch.narrow, in.height, in.width, in.channels));
    exec.pool().For(in.pixel_count(), 16, [&](int64_t begin, int64_t end, int) {
      RmsNorm(exec.kernels(), in.pixels().Rows(begin, end - begin), norm_.data(), kEps,
              x.pixels().Rows(begin, end - begin));
    });
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap query, MakeMap(scratch.wide, in.height, in.width, query_.rows));
    HEARTH_RETURN_IF_ERROR(PointwiseConv(exec, query_, x.pixels(), PixelOps{}, query.pixels()));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap key, key_.Run(exec, scratch.down, scratch.key, x));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap value, value_.Run(exec, scratch.down, scratch.value, x));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap mixed, MakeMap(scratch.mid, in.height, in.width, heads_ * value.channels));
    // A pixel's heads lie one after the other: seen as rows of one head each, they all meet the same keys.
    const int64_t queries = in.pixel_count() * heads_;
    HEARTH_RETURN_IF_ERROR(MultiQueryAttention(exec, MatF(query.data, queries, key.channels), key.pixels(),
                                               value.pixels(), MatF(mixed.data, queries, value.channels)));
    const PixelOps after_output{.scale = scale_.data(), .skip = skip_ ? in.data : nullptr};
    return PointwiseConv(exec, output_, mixed.pixels(), after_output, out.pixels());
  }

 private:
  using VisionBlock::VisionBlock;

  // The way of the keys or the values.
  struct Branch {
    DepthwiseWeight down;            // may be empty; [k, k, in]
    AlignedBuffer<float> down_norm;  // [in]
    Weight project;                  // [key_dim or value_dim, in]

    Status Load(VisionTensors& tensors, const std::string& prefix, int64_t in_channels, bool has_down) {
      if (has_down) {
        HEARTH_ASSIGN_OR_RETURN(down, tensors.Depthwise(prefix + "down_conv.weight", in_channels));
        HEARTH_ASSIGN_OR_RETURN(down_norm, tensors.Vector(prefix + "norm.weight", in_channels));
      }
      HEARTH_ASSIGN_OR_RETURN(project, tensors.Pointwise(prefix + "proj.weight", -1, in_channels));
      return Status();
    }

    StatusOr<FeatureMap> Run(Exec& exec, AlignedBuffer<float>& down_buffer, AlignedBuffer<float>& out_buffer,
                             FeatureMap x) const {
      if (!down.empty()) {
        HEARTH_ASSIGN_OR_RETURN(const FeatureMap small, MakeMap(down_buffer, SameOutputSize(x.height, kKvStride),
                                                                SameOutputSize(x.width, kKvStride), x.channels));
        DepthwiseConv(exec, down, kKvStride, x, PixelOps{.norm = down_norm.data()}, small);
        x = small;
      }
      HEARTH_ASSIGN_OR_RETURN(const FeatureMap out, MakeMap(out_buffer, x.height, x.width, project.rows));
      HEARTH_RETURN_IF_ERROR(PointwiseConv(exec, project, x.pixels(), PixelOps{}, out.pixels()));
      return out;
    }
  };

  AlignedBuffer<float> norm_;  // [in]
  Weight query_;               // [heads * key_dim, in]
  Branch key_, value_;
  Weight output_;               // [out, heads * value_dim]
  AlignedBuffer<float> scale_;  // may be empty; [out]
  int64_t heads_ = 0;
  bool skip_ = false;
};

}  // namespace

StatusOr<FeatureMap> MakeMap(AlignedBuffer<float>& buffer, int64_t height, int64_t width, int64_t channels) {
  if (height * width * channels > kMaxMapFloats) {
    return Error(Code::OUT_OF_MEMORY, "a feature map of %lld x %lld x %lld values; at most %lld in all",
                 static_cast<long long>(height), static_cast<long long>(width), static_cast<long long>(channels),
                 static_cast<long long>(kMaxMapFloats));
  }
  HEARTH_RETURN_IF_ERROR(buffer.Reserve(static_cast<size_t>(height * width * channels)));
  return FeatureMap{buffer.data(), height, width, channels};
}

bool HasVisionBlock(const VisionTensors& tensors, const std::string& prefix) {
  return tensors.Has(prefix + "conv_exp.weight") || tensors.Has(prefix + "pw_exp.conv.weight") ||
         tensors.Has(prefix + "attn.query.proj.weight");
}

StatusOr<std::unique_ptr<VisionBlock>> LoadVisionBlock(VisionTensors& tensors, const std::string& prefix,
                                                       int64_t in_channels, int64_t stride) {
  if (tensors.Has(prefix + "conv_exp.weight")) return EdgeResidual::Load(tensors, prefix, in_channels, stride);
  if (tensors.Has(prefix + "attn.query.proj.weight"))
    return MobileAttention::Load(tensors, prefix, in_channels, stride);
  return InvertedResidual::Load(tensors, prefix, in_channels, stride, true);
}

StatusOr<std::unique_ptr<VisionBlock>> LoadInvertedResidual(VisionTensors& tensors, const std::string& prefix,
                                                            int64_t in_channels, int64_t stride, bool allow_skip) {
  return InvertedResidual::Load(tensors, prefix, in_channels, stride, allow_skip);
}

}  // namespace hearth
