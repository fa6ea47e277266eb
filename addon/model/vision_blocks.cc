#include "addon/model/vision_blocks.h"

namespace hearth {
namespace {

constexpr int64_t kMaxMapFloats = 1 << 27;

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
  if (tensors.Has(prefix + "conv_exp.weight")) return LoadEdgeResidual(tensors, prefix, in_channels, stride);
  if (tensors.Has(prefix + "attn.query.proj.weight")) return LoadMobileAttention(tensors, prefix, in_channels, stride);
  return LoadInvertedResidual(tensors, prefix, in_channels, stride, true);
}

Status LoadLayerScale(VisionTensors& tensors, const std::string& prefix, int64_t channels,
                      AlignedBuffer<float>* scale) {
  const std::string name = prefix + "layer_scale.gamma";
  if (!tensors.Has(name)) return Status();
  HEARTH_ASSIGN_OR_RETURN(*scale, tensors.Vector(name, channels));
  return Status();
}

}  // namespace hearth
