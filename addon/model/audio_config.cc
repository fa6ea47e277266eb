#include "addon/model/audio_config.h"

#include <cmath>
#include <string>

namespace hearth {
namespace {

constexpr int64_t kMaxKernel = 64;
constexpr int64_t kMaxReduction = 64;

StatusOr<float> PositiveOr(const GgufFile& file, const char* key, double otherwise) {
  HEARTH_ASSIGN_OR_RETURN(const double value, file.FloatOr(key, otherwise));
  if (!(value > 0.0) || !std::isfinite(static_cast<float>(value))) {
    return Error(Code::MODEL_MISMATCH, "%s is %g; a positive number is expected", key, value);
  }
  return static_cast<float>(value);
}

}  // namespace

StatusOr<AudioConfig> AudioConfig::Load(const GgufFile& file) {
  AudioConfig c;
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* query, file.Require("a.blk.0.attn_q.weight"));
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* scale, file.Require("a.blk.0.per_dim_scale.weight"));
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* taps, file.Require("a.blk.0.conv_dw.weight"));
  c.hidden = query->cols();
  c.head_dim = scale->elements();
  c.heads = c.hidden / c.head_dim;
  c.conv_kernel = taps->cols();
  if (c.hidden > kMaxAudioWidth || c.hidden % 2 != 0 || c.heads * c.head_dim != c.hidden) {
    return Error(Code::MODEL_MISMATCH,
                 "audio encoder: %lld values a frame and %lld a head; frames are an even number up to "
                 "%lld, a multiple of a head",
                 static_cast<long long>(c.hidden), static_cast<long long>(c.head_dim),
                 static_cast<long long>(kMaxAudioWidth));
  }
  if (c.conv_kernel > kMaxKernel) {
    return Error(Code::MODEL_MISMATCH, "audio encoder: a convolution over %lld frames; at most %lld are expected",
                 static_cast<long long>(c.conv_kernel), static_cast<long long>(kMaxKernel));
  }
  c.blocks = 0;
  while (file.Find("a.blk." + std::to_string(c.blocks) + ".attn_q.weight") != nullptr) ++c.blocks;

  HEARTH_ASSIGN_OR_RETURN(const int64_t blocks, file.IntOr("clip.audio.block_count", c.blocks, 0, INT32_MAX));
  if (blocks != c.blocks) {
    return Error(Code::MODEL_INCOMPLETE,
                 "clip.audio.block_count is %lld, the file has the tensors of %lld audio blocks",
                 static_cast<long long>(blocks), static_cast<long long>(c.blocks));
  }
  HEARTH_ASSIGN_OR_RETURN(const int64_t heads, file.IntOr("clip.audio.attention.head_count", c.heads, 0, INT32_MAX));
  if (heads != c.heads) {
    return Error(Code::MODEL_MISMATCH, "clip.audio.attention.head_count is %lld, the tensors have %lld heads",
                 static_cast<long long>(heads), static_cast<long long>(c.heads));
  }
  // The context on the left counts the frame itself.
  HEARTH_ASSIGN_OR_RETURN(const int64_t left, file.IntOr("hearth.audio.context_left", 13, 1, kMaxAudioContext + 1));
  c.context = left - 1;
  HEARTH_ASSIGN_OR_RETURN(const int64_t right, file.IntOr("hearth.audio.context_right", 0, 0, kMaxAudioContext));
  if (right != 0) {
    return Error(Code::MODEL_UNSUPPORTED,
                 "audio encoder: hearth.audio.context_right is %lld; only causal attention (0) can run",
                 static_cast<long long>(right));
  }
  // The strided convolutions leave a quarter of the mel frames; those of the longest clip have to fit its tokens.
  constexpr int64_t kMinReduction = kMaxAudioFrames / 4 / kAudioSoftTokens;
  HEARTH_ASSIGN_OR_RETURN(c.reduction, file.IntOr("hearth.audio.reduction_factor", 4, kMinReduction, kMaxReduction));
  HEARTH_ASSIGN_OR_RETURN(c.logit_cap, PositiveOr(file, "hearth.audio.logit_cap", 50.0));
  HEARTH_ASSIGN_OR_RETURN(c.residual_weight, PositiveOr(file, "hearth.audio.residual_weight", 0.5));
  HEARTH_ASSIGN_OR_RETURN(c.clip, PositiveOr(file, "hearth.audio.gradient_clipping", 1e10));
  HEARTH_ASSIGN_OR_RETURN(c.norm_eps, PositiveOr(file, "clip.audio.attention.layer_norm_epsilon", 1e-6));
  HEARTH_ASSIGN_OR_RETURN(c.group_norm_eps, PositiveOr(file, "hearth.audio.group_norm_eps", 1e-3));
  return c;
}

}  // namespace hearth
