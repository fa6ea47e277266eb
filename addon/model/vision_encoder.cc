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

Status VisionEncoder::Pack(const hearth_kernels& kernels, ThreadPool& pool) {
  std::vector<Weight*> matrices = {embedder_->projection()};
  for (const std::unique_ptr<VisionBlock>& block : blocks_) block->AddMatrices(&matrices);
  fusion_->AddMatrices(&matrices);
  HEARTH_RETURN_IF_ERROR(panels_.Pack(kernels, *file_, matrices, pool));
  for (const std::unique_ptr<VisionBlock>& block : blocks_) block->Packed();
  return Status();
}

Status VisionEncoder::Fuse(Exec& exec, VisionScratch& scratch, FeatureMap fine, FeatureMap coarse,
                           FeatureMap out) const {
  if (fusion_->in_panels() && fine.channels % 32 == 0) {
    const VisionBlock::PixelSource both = [&](int64_t y, int64_t x, int64_t i, Activations& rows) {
      rows.Quantise(exec.kernels(), i, 0, fine.channels, fine.pixel(y, x));
      rows.Quantise(exec.kernels(), i, fine.channels, coarse.channels,
                    coarse.pixel(y * coarse.height / fine.height, x * coarse.width / fine.width));
    };
    return fusion_->RunPixels(exec, scratch, both, out);
  }
  HEARTH_ASSIGN_OR_RETURN(const FeatureMap fused,
                          MakeMap(scratch.mid, fine.height, fine.width, fine.channels + coarse.channels));
  UpsampleNearestInto(exec, fine, 0, fused);
  UpsampleNearestInto(exec, coarse, fine.channels, fused);
  return fusion_->Run(exec, scratch, fused, out);
}

Status VisionEncoder::EncodePixels(Exec& exec, const float* pixels, int64_t size, MatF out) const {
  HEARTH_RETURN_IF_ERROR(CheckSize(size));
  VisionScratch scratch;  // up to 250 MB at 768 px, given back at the end
  const FeatureMap picture{const_cast<float*>(pixels), size, size, kColours};
  HEARTH_ASSIGN_OR_RETURN(FeatureMap x, MakeMap(scratch.maps[0], SameOutputSize(size, kStemStride),
                                                SameOutputSize(size, kStemStride), stem_.out));
  const PixelOps after_stem{.bias = stem_bias_.data(), .norm = stem_norm_.data(), .gelu = true};
  HEARTH_RETURN_IF_ERROR(Conv2d(exec, stem_, kStemStride, picture, after_stem, scratch.patches, x));

  FeatureMap fine;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const VisionBlock& block = *blocks_[i];
    if (i == fine_end_) fine = x;
    // The finer input of the fusion stays until the end, in a buffer of its own.
    AlignedBuffer<float>& buffer = i + 1 == fine_end_ ? scratch.fine : scratch.maps[(i + 1) % 2];
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap next,
                            MakeMap(buffer, SameOutputSize(x.height, block.stride()),
                                    SameOutputSize(x.width, block.stride()), block.out_channels()));
    HEARTH_RETURN_IF_ERROR(block.Run(exec, scratch, x, next));
    x = next;
  }
  // Reserve may move a buffer: only the one that holds nothing any more.
  HEARTH_ASSIGN_OR_RETURN(const FeatureMap mixed, MakeMap(scratch.maps[(blocks_.size() + 1) % 2], fine.height,
                                                          fine.width, fusion_->out_channels()));
  HEARTH_RETURN_IF_ERROR(Fuse(exec, scratch, fine, x, mixed));
  PoolOrInterpolate(exec, mixed, FeatureMap{out.data, kGrid, kGrid, mixed.channels});
  RmsNorm(exec.kernels(), out, fusion_norm_.data(), kVisionEps, out);
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
