#include "addon/model/vision_encoder.h"

#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "addon/model/vision_tensors.h"
#include "addon/ops/norm.h"
#include "addon/ops/resample2d.h"

namespace hearth {
namespace {

constexpr float kEps = 1e-6f;  // timm RmsNorm2d
constexpr int64_t kColours = 3;
constexpr int64_t kStemStride = 2;
// timm stops halving the resolution at 1/32, that is after the stem and four stages; the fusion needs two.
constexpr int kMinStages = 2, kMaxStages = 4;
constexpr int kMaxBlocksPerStage = 256;
constexpr int64_t kSizeStep = 32, kMaxSize = 1024;

Status CheckSize(int64_t size) {
  if (size >= kSizeStep && size <= kMaxSize && size % kSizeStep == 0) return Status();
  return Error(Code::OPTION_INVALID, "the picture size is %lld; a multiple of %lld up to %lld",
               static_cast<long long>(size), static_cast<long long>(kSizeStep), static_cast<long long>(kMaxSize));
}

}  // namespace

StatusOr<std::unique_ptr<VisionEncoder>> VisionEncoder::Load(std::shared_ptr<const GgufFile> file,
                                                             int64_t text_hidden) {
  std::unique_ptr<VisionEncoder> encoder(new VisionEncoder());
  encoder->file_ = std::move(file);
  HEARTH_RETURN_IF_ERROR(encoder->LoadAll(text_hidden));
  return encoder;
}

Status VisionEncoder::LoadAll(int64_t text_hidden) {
  VisionTensors tensors(*file_);
  HEARTH_ASSIGN_OR_RETURN(stem_, tensors.Conv("v.conv_stem.conv.weight", -1, kColours));
  if (tensors.Has("v.conv_stem.conv.bias")) {
    HEARTH_ASSIGN_OR_RETURN(stem_bias_, tensors.Vector("v.conv_stem.conv.bias", stem_.out));
  }
  HEARTH_ASSIGN_OR_RETURN(stem_norm_, tensors.Vector("v.conv_stem.bn.weight", stem_.out));
  HEARTH_RETURN_IF_ERROR(LoadStages(tensors, stem_.out));
  const int64_t fused = blocks_[fine_end_ - 1]->out_channels() + blocks_.back()->out_channels();
  HEARTH_ASSIGN_OR_RETURN(fusion_, LoadInvertedResidual(tensors, "v.msfa.ffn.", fused, 1, false));
  HEARTH_ASSIGN_OR_RETURN(fusion_norm_, tensors.Vector("v.msfa.norm.weight", fusion_->out_channels()));
  HEARTH_RETURN_IF_ERROR(tensors.CheckAllTaken());

  HEARTH_ASSIGN_OR_RETURN(MultimodalEmbedder embedder,
                          MultimodalEmbedder::Load(TensorLoader(*file_), "mm.", text_hidden));
  embedder_ = std::make_unique<MultimodalEmbedder>(std::move(embedder));
  if (embedder_->hidden() != fusion_->out_channels()) {
    return Error(Code::MODEL_MISMATCH,
                 "the vision encoder's output is %lld wide, mm.input_projection.weight takes %lld",
                 static_cast<long long>(fusion_->out_channels()), static_cast<long long>(embedder_->hidden()));
  }
  return Status();
}

Status VisionEncoder::LoadStages(VisionTensors& tensors, int64_t channels) {
  const auto prefix = [](int stage, int index) {
    return "v.blk." + std::to_string(stage) + "." + std::to_string(index) + ".";
  };
  int stages = 0;
  for (; HasVisionBlock(tensors, prefix(stages, 0)); ++stages) {
    if (stages == kMaxStages)
      return Error(Code::MODEL_UNSUPPORTED, "the vision encoder has more than %d stages", kMaxStages);
    fine_end_ = blocks_.size();
    for (int index = 0; HasVisionBlock(tensors, prefix(stages, index)); ++index) {
      if (index == kMaxBlocksPerStage) {
        return Error(Code::MODEL_UNSUPPORTED, "stage %d of the vision encoder has more than %d blocks", stages,
                     kMaxBlocksPerStage);
      }
      HEARTH_ASSIGN_OR_RETURN(std::unique_ptr<VisionBlock> block,
                              LoadVisionBlock(tensors, prefix(stages, index), channels, index == 0 ? 2 : 1));
      channels = block->out_channels();
      blocks_.push_back(std::move(block));
    }
  }
  if (stages < kMinStages) {
    return Error(Code::MODEL_INCOMPLETE, "the vision encoder has %d stages (v.blk.STAGE.*); at least %d", stages,
                 kMinStages);
  }
  return Status();
}

Status VisionEncoder::EncodePixels(Exec& exec, const float* pixels, int64_t size, MatF out) const {
  HEARTH_RETURN_IF_ERROR(CheckSize(size));
  VisionScratch scratch;  // up to 250 MB at 768 px, given back at the end
  const FeatureMap picture{const_cast<float*>(pixels), size, size, kColours};
  HEARTH_ASSIGN_OR_RETURN(FeatureMap x, MakeMap(scratch.maps[0], SameOutputSize(size, kStemStride),
                                                SameOutputSize(size, kStemStride), stem_.out));
  const PixelOps after_stem{.bias = stem_bias_.data(), .norm = stem_norm_.data(), .gelu = true};
  HEARTH_RETURN_IF_ERROR(Conv2d(exec, stem_, kStemStride, picture, after_stem, scratch.patches, x));

  FeatureMap fused;
  AlignedBuffer<float> fused_buffer;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const VisionBlock& block = *blocks_[i];
    if (i == fine_end_) {  // x is the finer input of the fusion
      HEARTH_ASSIGN_OR_RETURN(fused,
                              MakeMap(fused_buffer, x.height, x.width, x.channels + blocks_.back()->out_channels()));
      UpsampleNearestInto(exec, x, 0, fused);
    }
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap next,
                            MakeMap(scratch.maps[(i + 1) % 2], SameOutputSize(x.height, block.stride()),
                                    SameOutputSize(x.width, block.stride()), block.out_channels()));
    HEARTH_RETURN_IF_ERROR(block.Run(exec, scratch, x, next));
    x = next;
  }
  UpsampleNearestInto(exec, x, fused.channels - x.channels, fused);
  // Reserve may move a buffer that holds nothing any more: x has been copied.
  HEARTH_ASSIGN_OR_RETURN(const FeatureMap mixed,
                          MakeMap(scratch.maps[0], fused.height, fused.width, fusion_->out_channels()));
  HEARTH_RETURN_IF_ERROR(fusion_->Run(exec, scratch, fused, mixed));
  PoolOrInterpolate(exec, mixed, FeatureMap{out.data, kGrid, kGrid, mixed.channels});
  RmsNorm(exec.kernels(), out, fusion_norm_.data(), kEps, out);
  return Status();
}

Status VisionEncoder::EmbedFeatures(Exec& exec, MatF features, MatF out) const {
  // Hugging Face Gemma3nModel.get_image_features. It matters only next to the soft norm's eps.
  const float scale = std::sqrt(static_cast<float>(hidden()));
  for (int64_t r = 0; r < features.rows; ++r) {
    exec.kernels().scale_f32(features.row(r), scale, nullptr, features.row(r), features.cols);
  }
  return embedder_->EmbedSoft(exec, features, out);
}

Status VisionEncoder::Encode(Exec& exec, const RgbView& image, int64_t size, MatF out) const {
  HEARTH_RETURN_IF_ERROR(CheckSize(size));
  AlignedBuffer<float> pixels, features;
  HEARTH_RETURN_IF_ERROR(pixels.Reset(static_cast<size_t>(size * size * kColours)));
  HEARTH_RETURN_IF_ERROR(ResizeImage(exec.pool(), image, size, pixels.data()));
  HEARTH_RETURN_IF_ERROR(features.Reset(static_cast<size_t>(kSoftTokens * hidden())));
  const MatF rows(features.data(), kSoftTokens, hidden());
  HEARTH_RETURN_IF_ERROR(EncodePixels(exec, pixels.data(), size, rows));
  return EmbedFeatures(exec, rows, out);
}

}  // namespace hearth
