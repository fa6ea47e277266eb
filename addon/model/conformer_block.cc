#include "addon/model/conformer_block.h"

#include <algorithm>
#include <cmath>

#include "addon/ops/activation.h"
#include "addon/ops/norm.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// The norms whose eps is not in any configuration.
constexpr float kEps = 1e-6f;
// Longest wavelength of a position, over 2 pi (the shortest is 1).
constexpr double kMaxTimescale = 1e4;
constexpr int64_t kRowGrain = 4;

template <typename Body>
void ForRows(Exec& exec, int64_t rows, Body&& body) {
  exec.pool().For(rows, kRowGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) body(r);
  });
}

void ClampRow(const float* x, float limit, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::min(std::max(x[i], -limit), limit);
}

// The rows in front of the `frames` new ones: from the state before, to the state after.
void RestoreContext(const AlignedBuffer<float>& state, AlignedBuffer<float>& rows) {
  std::copy_n(state.data(), state.size(), rows.data());
}
void SaveContext(const AlignedBuffer<float>& rows, int64_t frames, int64_t hidden, AlignedBuffer<float>& state) {
  std::copy_n(rows.data() + frames * hidden, state.size(), state.data());
}

}  // namespace

Status ConformerBlock::Workspace::Allocate(const AudioConfig& config, int64_t ffn, int64_t frames) {
  const auto rows = [&](int64_t count) { return static_cast<size_t>(count * config.hidden); };
  HEARTH_RETURN_IF_ERROR(normed_.Reset(rows(frames)));
  HEARTH_RETURN_IF_ERROR(query_.Reset(rows(frames)));
  HEARTH_RETURN_IF_ERROR(keys_.Reset(rows(config.context + frames)));
  HEARTH_RETURN_IF_ERROR(values_.Reset(rows(config.context + frames)));
  HEARTH_RETURN_IF_ERROR(conv_input_.Reset(rows(config.conv_kernel - 1 + frames)));
  return wide_.Reset(static_cast<size_t>(frames * std::max(ffn, 2 * config.hidden)));
}

StatusOr<ConformerBlock::FeedForward> ConformerBlock::LoadFeedForward(const TensorLoader& loader,
                                                                      const std::string& prefix,
                                                                      const std::string& suffix, int64_t hidden) {
  FeedForward ff;
  HEARTH_ASSIGN_OR_RETURN(ff.pre_norm, loader.Vector(prefix + "ffn_norm" + suffix, hidden));
  HEARTH_ASSIGN_OR_RETURN(ff.up, loader.Matrix(prefix + "ffn_up" + suffix, -1, hidden));
  if (ff.up.rows > kMaxAudioWidth) {
    return Error(Code::MODEL_MISMATCH, "tensor %sffn_up%s has %lld rows; at most %lld are expected", prefix.c_str(),
                 suffix.c_str(), static_cast<long long>(ff.up.rows), static_cast<long long>(kMaxAudioWidth));
  }
  HEARTH_ASSIGN_OR_RETURN(ff.down, loader.Matrix(prefix + "ffn_down" + suffix, hidden, ff.up.rows));
  HEARTH_ASSIGN_OR_RETURN(ff.post_norm, loader.Vector(prefix + "ffn_post_norm" + suffix, hidden));
  return ff;
}

StatusOr<ConformerBlock> ConformerBlock::Load(const TensorLoader& loader, const std::string& prefix,
                                              const AudioConfig& config) {
  const int64_t hidden = config.hidden;
  ConformerBlock b;
  b.config_ = config;
  HEARTH_ASSIGN_OR_RETURN(b.start_, LoadFeedForward(loader, prefix, ".weight", hidden));
  HEARTH_ASSIGN_OR_RETURN(b.end_, LoadFeedForward(loader, prefix, "_1.weight", hidden));

  HEARTH_ASSIGN_OR_RETURN(b.attn_pre_norm_, loader.Vector(prefix + "ln1.weight", hidden));
  HEARTH_ASSIGN_OR_RETURN(b.q_, loader.Matrix(prefix + "attn_q.weight", hidden, hidden));
  HEARTH_ASSIGN_OR_RETURN(b.k_, loader.Matrix(prefix + "attn_k.weight", hidden, hidden));
  HEARTH_ASSIGN_OR_RETURN(b.v_, loader.Matrix(prefix + "attn_v.weight", hidden, hidden));
  HEARTH_ASSIGN_OR_RETURN(b.linear_pos_, loader.Matrix(prefix + "linear_pos.weight", hidden, hidden));
  HEARTH_ASSIGN_OR_RETURN(b.query_scale_, loader.Vector(prefix + "per_dim_scale.weight", config.head_dim));
  HEARTH_ASSIGN_OR_RETURN(b.attn_out_, loader.Matrix(prefix + "attn_out.weight", hidden, hidden));
  HEARTH_ASSIGN_OR_RETURN(b.attn_post_norm_, loader.Vector(prefix + "ln2.weight", hidden));
  // Stored is a correction learnt from 0; softplus(0) makes that a factor of 1.
  const float scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)) / Softplus(0.0f);
  for (int64_t i = 0; i < config.head_dim; ++i) b.query_scale_[i] = scale * Softplus(b.query_scale_[i]);

  HEARTH_ASSIGN_OR_RETURN(b.conv_pre_norm_, loader.Vector(prefix + "conv_norm.weight", hidden));
  HEARTH_ASSIGN_OR_RETURN(b.conv_in_, loader.Matrix(prefix + "conv_pw1.weight", 2 * hidden, hidden));
  HEARTH_ASSIGN_OR_RETURN(const AlignedBuffer<float> taps,
                          loader.Vector(prefix + "conv_dw.weight", config.conv_kernel * hidden));
  HEARTH_ASSIGN_OR_RETURN(b.conv_mid_norm_, loader.Vector(prefix + "norm_conv.weight", hidden));
  HEARTH_ASSIGN_OR_RETURN(b.conv_out_, loader.Matrix(prefix + "conv_pw2.weight", hidden, hidden));
  HEARTH_RETURN_IF_ERROR(b.taps_.Reset(taps.size()));
  for (int64_t c = 0; c < hidden; ++c) {
    for (int64_t k = 0; k < config.conv_kernel; ++k) b.taps_[k * hidden + c] = taps[c * config.conv_kernel + k];
  }

  HEARTH_ASSIGN_OR_RETURN(b.out_norm_, loader.Vector(prefix + "layer_pre_norm.weight", hidden));
  return b;
}

Status ConformerBlock::Start(Exec& exec, State& state) const {
  const int64_t hidden = config_.hidden, steps = config_.context + 1, half = hidden / 2;
  state = State();
  HEARTH_RETURN_IF_ERROR(state.keys_.Reset(static_cast<size_t>(config_.context * hidden)));
  HEARTH_RETURN_IF_ERROR(state.values_.Reset(static_cast<size_t>(config_.context * hidden)));
  HEARTH_RETURN_IF_ERROR(state.conv_input_.Reset(static_cast<size_t>((config_.conv_kernel - 1) * hidden)));
  HEARTH_RETURN_IF_ERROR(state.positions_.Reset(static_cast<size_t>(steps * hidden)));
  AlignedBuffer<float> waves;
  HEARTH_RETURN_IF_ERROR(waves.Reset(static_cast<size_t>(steps * hidden)));
  const double increment = std::log(kMaxTimescale) / static_cast<double>(std::max<int64_t>(half - 1, 1));
  for (int64_t j = 0; j < steps; ++j) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(j) * std::exp(-increment * static_cast<double>(i));
      waves[j * hidden + i] = static_cast<float>(std::sin(angle));
      waves[j * hidden + half + i] = static_cast<float>(std::cos(angle));
    }
  }
  return MatMul(exec, linear_pos_, ConstMatF(waves.data(), steps, hidden),
                MatF(state.positions_.data(), steps, hidden));
}

Status ConformerBlock::Run(Exec& exec, State& state, Workspace& ws, MatF x) const {
  HEARTH_RETURN_IF_ERROR(RunFeedForward(exec, start_, ws, x));
  HEARTH_RETURN_IF_ERROR(RunAttention(exec, state, ws, x));
  HEARTH_RETURN_IF_ERROR(RunLightConv(exec, state, ws, x));
  HEARTH_RETURN_IF_ERROR(RunFeedForward(exec, end_, ws, x));
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampRow(x.row(r), config_.clip, x.cols, x.row(r));
    RmsNormRow(exec.kernels(), x.row(r), out_norm_.data(), kEps, x.cols, x.row(r));
  });
  return Status();
}

Status ConformerBlock::RunFeedForward(Exec& exec, const FeedForward& ff, Workspace& ws, MatF x) const {
  const hearth_kernels& kernels = exec.kernels();
  const MatF normed(ws.normed_.data(), x.rows, x.cols);
  const MatF wide(ws.wide_.data(), x.rows, ff.up.rows);
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampRow(x.row(r), config_.clip, x.cols, normed.row(r));
    RmsNormRow(kernels, normed.row(r), ff.pre_norm.data(), kEps, x.cols, normed.row(r));
  });
  HEARTH_RETURN_IF_ERROR(MatMul(exec, ff.up, normed, wide));
  ForRows(exec, x.rows, [&](int64_t r) { SiluRow(wide.row(r), wide.cols); });
  HEARTH_RETURN_IF_ERROR(MatMul(exec, ff.down, wide, normed));
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampRow(normed.row(r), config_.clip, x.cols, normed.row(r));
    RmsNormRow(kernels, normed.row(r), ff.post_norm.data(), kEps, x.cols, normed.row(r));
    kernels.axpy_f32(config_.residual_weight, normed.row(r), x.row(r), x.cols);
  });
  return Status();
}

Status ConformerBlock::RunAttention(Exec& exec, State& state, Workspace& ws, MatF x) const {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t context = config_.context;
  const MatF normed(ws.normed_.data(), x.rows, x.cols);
  const MatF query(ws.query_.data(), x.rows, x.cols);
  const MatF keys(ws.keys_.data(), context + x.rows, x.cols);
  const MatF values(ws.values_.data(), context + x.rows, x.cols);
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampRow(x.row(r), config_.clip, x.cols, normed.row(r));
    RmsNormRow(kernels, normed.row(r), attn_pre_norm_.data(), kEps, x.cols, normed.row(r));
  });
  RestoreContext(state.keys_, ws.keys_);
  RestoreContext(state.values_, ws.values_);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, q_, normed, query));
  HEARTH_RETURN_IF_ERROR(MatMul(exec, k_, normed, keys.Rows(context, x.rows)));
  HEARTH_RETURN_IF_ERROR(MatMul(exec, v_, normed, values.Rows(context, x.rows)));
  ForRows(exec, x.rows, [&](int64_t r) {
    const int64_t earlier = std::min(context, state.known_ + r);
    Attend(kernels, state, earlier, keys, values, context + r, query.row(r));
  });
  SaveContext(ws.keys_, x.rows, x.cols, state.keys_);
  SaveContext(ws.values_, x.rows, x.cols, state.values_);
  state.known_ = std::min(context, state.known_ + x.rows);

  HEARTH_RETURN_IF_ERROR(MatMul(exec, attn_out_, query, normed));
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampRow(normed.row(r), config_.clip, x.cols, normed.row(r));
    RmsNormRow(kernels, normed.row(r), attn_post_norm_.data(), kEps, x.cols, normed.row(r));
    kernels.axpy_f32(1.0f, normed.row(r), x.row(r), x.cols);
  });
  return Status();
}

void ConformerBlock::Attend(const hearth_kernels& kernels, const State& state, int64_t earlier, ConstMatF keys,
                            ConstMatF values, int64_t row, float* query) const {
  const int64_t dim = config_.head_dim, hidden = config_.hidden;
  float weights[kMaxAudioContext + 1];
  for (int64_t h = 0; h < config_.heads; ++h) {
    float* q = query + h * dim;
    for (int64_t i = 0; i < dim; ++i) q[i] *= query_scale_[i];
    float max = -INFINITY;
    for (int64_t j = 0; j <= earlier; ++j) {
      const float content = kernels.dot_f32(q, keys.row(row - j) + h * dim, dim);
      const float position = kernels.dot_f32(q, state.positions_.data() + j * hidden + h * dim, dim);
      weights[j] = SoftCap(content + position, config_.logit_cap);
      max = std::max(max, weights[j]);
    }
    float sum = 0.0f;
    for (int64_t j = 0; j <= earlier; ++j) sum += weights[j] = std::exp(weights[j] - max);
    std::fill_n(q, dim, 0.0f);
    for (int64_t j = 0; j <= earlier; ++j) kernels.axpy_f32(weights[j] / sum, values.row(row - j) + h * dim, q, dim);
  }
}

Status ConformerBlock::RunLightConv(Exec& exec, State& state, Workspace& ws, MatF x) const {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t hidden = x.cols, before = config_.conv_kernel - 1;
  const MatF normed(ws.normed_.data(), x.rows, hidden);
  const MatF gated(ws.wide_.data(), x.rows, 2 * hidden);
  const MatF input(ws.conv_input_.data(), before + x.rows, hidden);
  ForRows(exec, x.rows, [&](int64_t r) {
    RmsNormRow(kernels, x.row(r), conv_pre_norm_.data(), config_.norm_eps, hidden, normed.row(r));
  });
  HEARTH_RETURN_IF_ERROR(MatMul(exec, conv_in_, normed, gated));
  RestoreContext(state.conv_input_, ws.conv_input_);
  ForRows(exec, x.rows, [&](int64_t r) { GluRow(gated.row(r), gated.row(r) + hidden, input.row(before + r), hidden); });
  ForRows(exec, x.rows, [&](int64_t r) {
    float* y = normed.row(r);
    std::fill_n(y, hidden, 0.0f);
    for (int64_t k = 0; k <= before; ++k) {
      const float* in = input.row(r + k);
      const float* taps = taps_.data() + k * hidden;
      for (int64_t c = 0; c < hidden; ++c) y[c] += taps[c] * in[c];
    }
    ClampRow(y, config_.clip, hidden, y);
    RmsNormRow(kernels, y, conv_mid_norm_.data(), config_.norm_eps, hidden, y);
    SiluRow(y, hidden);
  });
  SaveContext(ws.conv_input_, x.rows, hidden, state.conv_input_);

  const MatF out(ws.query_.data(), x.rows, hidden);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, conv_out_, normed, out));
  ForRows(exec, x.rows, [&](int64_t r) { kernels.axpy_f32(1.0f, out.row(r), x.row(r), hidden); });
  return Status();
}

}  // namespace hearth
