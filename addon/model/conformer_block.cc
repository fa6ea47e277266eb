#include "addon/model/conformer_block.h"

#include <algorithm>
#include <cmath>

#include "addon/ops/activation.h"
#include "addon/ops/float4.h"
#include "addon/ops/norm.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// The norms whose eps is not in any configuration.
constexpr float kEps = 1e-6f;
// Longest wavelength of a position, over 2 pi (the shortest is 1).
constexpr double kMaxTimescale = 1e4;
constexpr int64_t kRowGrain = 4;
// Neurons of a feed-forward that a thread takes at a time: what one scale of 8-bit values covers.
constexpr int64_t kNeurons = 32;

template <typename Body>
void ForRows(Exec& exec, int64_t rows, Body&& body) {
  exec.pool().For(rows, kRowGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) body(r);
  });
}

void ClampRow(const float* x, float limit, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const Float4 v = Load4(x + i);
    const Float4 low = v < -limit ? Splat4(-limit) : v;
    Store4(y + i, low > limit ? Splat4(limit) : low);
  }
  for (; i < n; ++i) y[i] = std::min(std::max(x[i], -limit), limit);
}

// Rows that products are asked for: beyond kAlikeTokens a row gets the same bits among however many, so what is missing
// is made up with rows nobody looks at.
int64_t TokensFor(int64_t frames) { return std::max(frames, kAlikeTokens + 1); }

// The rows in front of the `frames` new ones: from the state before, to the state after.
void RestoreContext(const AlignedBuffer<float>& state, AlignedBuffer<float>& rows) {
  std::copy_n(state.data(), state.size(), rows.data());
}
void SaveContext(const AlignedBuffer<float>& rows, int64_t frames, int64_t hidden, AlignedBuffer<float>& state) {
  std::copy_n(rows.data() + frames * hidden, state.size(), state.data());
}

}  // namespace

Status ConformerBlock::State::Assign(const State& other) {
  HEARTH_RETURN_IF_ERROR(keys_.Assign(other.keys_));
  HEARTH_RETURN_IF_ERROR(values_.Assign(other.values_));
  HEARTH_RETURN_IF_ERROR(conv_input_.Assign(other.conv_input_));
  known_ = other.known_;
  return Status();
}

Status ConformerBlock::Workspace::Allocate(const AudioConfig& config, int64_t ffn, int64_t frames) {
  frames = TokensFor(frames);
  const auto rows = [&](int64_t count) { return static_cast<size_t>(count * config.hidden); };
  HEARTH_RETURN_IF_ERROR(normed_.Reserve(frames, config.hidden));
  HEARTH_RETURN_IF_ERROR(neurons_.Reserve(frames, ffn));
  HEARTH_RETURN_IF_ERROR(out_.Reset(rows(frames)));
  HEARTH_RETURN_IF_ERROR(keys_.Reset(rows(config.context + frames)));
  HEARTH_RETURN_IF_ERROR(values_.Reset(rows(config.context + frames)));
  HEARTH_RETURN_IF_ERROR(conv_input_.Reset(rows(config.conv_kernel - 1 + frames)));
  return gated_.Reset(rows(2 * frames));
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

Status ConformerBlock::Start(State& state) const {
  const int64_t hidden = config_.hidden;
  state = State();
  HEARTH_RETURN_IF_ERROR(state.keys_.Reset(static_cast<size_t>(config_.context * hidden)));
  HEARTH_RETURN_IF_ERROR(state.values_.Reset(static_cast<size_t>(config_.context * hidden)));
  return state.conv_input_.Reset(static_cast<size_t>((config_.conv_kernel - 1) * hidden));
}

Status ConformerBlock::MakePositions(Exec& exec) {
  const int64_t hidden = config_.hidden, steps = config_.context + 1, half = hidden / 2;
  HEARTH_RETURN_IF_ERROR(positions_.Reset(static_cast<size_t>(steps * hidden)));
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
  return MatMul(exec, linear_pos_, ConstMatF(waves.data(), steps, hidden), MatF(positions_.data(), steps, hidden));
}

void ConformerBlock::AddMatrices(std::vector<Weight*>* matrices) {
  for (Weight* w : {&start_.up, &start_.down, &q_, &k_, &v_, &attn_out_, &conv_in_, &conv_out_, &end_.up, &end_.down})
    matrices->push_back(w);
}

void ConformerBlock::ClampAndNorm(const hearth_kernels& kernels, const float* x, const AlignedBuffer<float>& norm,
                                  float* y) const {
  ClampRow(x, config_.clip, config_.hidden, y);
  RmsNormRow(kernels, y, norm.data(), kEps, config_.hidden, y);
}

Status ConformerBlock::Run(Exec& exec, State& state, Workspace& ws, MatF x) const {
  HEARTH_RETURN_IF_ERROR(RunFeedForward(exec, start_, ws, x));
  HEARTH_RETURN_IF_ERROR(RunAttention(exec, state, ws, x));
  HEARTH_RETURN_IF_ERROR(RunLightConv(exec, state, ws, x));
  HEARTH_RETURN_IF_ERROR(RunFeedForward(exec, end_, ws, x));
  ForRows(exec, x.rows, [&](int64_t r) { ClampAndNorm(exec.kernels(), x.row(r), out_norm_, x.row(r)); });
  return Status();
}

Status ConformerBlock::RunFeedForward(Exec& exec, const FeedForward& ff, Workspace& ws, MatF x) const {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t tokens = TokensFor(x.rows), ffn = ff.up.rows;
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampAndNorm(kernels, x.row(r), ff.pre_norm, ws.normed_.row(r));
    ws.normed_.Quantise(kernels, r);
  });
  // A block of neurons for every frame: they leave as 8 bits while they are in the cache.
  HEARTH_RETURN_IF_ERROR(ws.neurons_.Reserve(tokens, ffn));
  HEARTH_RETURN_IF_ERROR(ReserveRows(exec, ff.up));
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(tokens * kNeurons), Exec::kOuter));
  exec.pool().For((ffn + kNeurons - 1) / kNeurons, 1, [&](int64_t begin, int64_t end, int thread) {
    float* const block = exec.scratch(thread, Exec::kOuter);
    for (int64_t n = begin * kNeurons; n < std::min(end * kNeurons, ffn); n += kNeurons) {
      const int64_t count = std::min(kNeurons, ffn - n);
      MultiplyRows(exec, thread, ff.up, n, n + count, ff.up.cols, ws.normed_, tokens, block, kNeurons);
      kernels.glu_f32(block, block, block, x.rows * kNeurons);
      for (int64_t r = 0; r < x.rows; ++r) {
        if (ff.down.panels == nullptr) std::copy_n(block + r * kNeurons, count, ws.neurons_.row(r) + n);
        ws.neurons_.Quantise(kernels, r, n, count, block + r * kNeurons);
      }
    }
  });
  const MatF out(ws.out_.data(), tokens, x.cols);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{ff.down, ws.neurons_, out}}));
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampAndNorm(kernels, out.row(r), ff.post_norm, out.row(r));
    kernels.axpy_f32(config_.residual_weight, out.row(r), x.row(r), x.cols);
  });
  return Status();
}

Status ConformerBlock::RunAttention(Exec& exec, State& state, Workspace& ws, MatF x) const {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t context = config_.context, tokens = TokensFor(x.rows);
  const MatF out(ws.out_.data(), tokens, x.cols);  // the queries first
  const MatF keys(ws.keys_.data(), context + tokens, x.cols);
  const MatF values(ws.values_.data(), context + tokens, x.cols);
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampAndNorm(kernels, x.row(r), attn_pre_norm_, ws.normed_.row(r));
    ws.normed_.Quantise(kernels, r);
  });
  RestoreContext(state.keys_, ws.keys_);
  RestoreContext(state.values_, ws.values_);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens,
                                {{q_, ws.normed_, out},
                                 {k_, ws.normed_, keys.Rows(context, tokens)},
                                 {v_, ws.normed_, values.Rows(context, tokens)}}));
  ForRows(exec, x.rows, [&](int64_t r) {
    const int64_t earlier = std::min(context, state.known_ + r);
    std::copy_n(out.row(r), x.cols, ws.normed_.row(r));
    Attend(kernels, earlier, keys, values, context + r, ws.normed_.row(r));
    ws.normed_.Quantise(kernels, r);
  });
  SaveContext(ws.keys_, x.rows, x.cols, state.keys_);
  SaveContext(ws.values_, x.rows, x.cols, state.values_);
  state.known_ = std::min(context, state.known_ + x.rows);

  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{attn_out_, ws.normed_, out}}));
  ForRows(exec, x.rows, [&](int64_t r) {
    ClampAndNorm(kernels, out.row(r), attn_post_norm_, out.row(r));
    kernels.axpy_f32(1.0f, out.row(r), x.row(r), x.cols);
  });
  return Status();
}

void ConformerBlock::Attend(const hearth_kernels& kernels, int64_t earlier, ConstMatF keys, ConstMatF values,
                            int64_t row, float* query) const {
  const int64_t dim = config_.head_dim, hidden = config_.hidden;
  float weights[kMaxAudioContext + 1];
  for (int64_t h = 0; h < config_.heads; ++h) {
    float* q = query + h * dim;
    for (int64_t i = 0; i < dim; ++i) q[i] *= query_scale_[i];
    for (int64_t j = 0; j <= earlier; ++j) {
      const float content = kernels.dot_f32(q, keys.row(row - j) + h * dim, dim);
      const float position = kernels.dot_f32(q, positions_.data() + j * hidden + h * dim, dim);
      weights[j] = content + position;
    }
    SoftCapRow(weights, earlier + 1, config_.logit_cap);
    const float scale = 1.0f / ExpRow(weights, earlier + 1, 1.0f);
    std::fill_n(q, dim, 0.0f);
    for (int64_t j = 0; j <= earlier; ++j) kernels.axpy_f32(weights[j] * scale, values.row(row - j) + h * dim, q, dim);
  }
}

Status ConformerBlock::RunLightConv(Exec& exec, State& state, Workspace& ws, MatF x) const {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t hidden = x.cols, before = config_.conv_kernel - 1, tokens = TokensFor(x.rows);
  const MatF gated(ws.gated_.data(), tokens, 2 * hidden);
  const MatF input(ws.conv_input_.data(), before + x.rows, hidden);
  ForRows(exec, x.rows, [&](int64_t r) {
    RmsNormRow(kernels, x.row(r), conv_pre_norm_.data(), config_.norm_eps, hidden, ws.normed_.row(r));
    ws.normed_.Quantise(kernels, r);
  });
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{conv_in_, ws.normed_, gated}}));
  RestoreContext(state.conv_input_, ws.conv_input_);
  ForRows(exec, x.rows,
          [&](int64_t r) { kernels.glu_f32(gated.row(r), gated.row(r) + hidden, input.row(before + r), hidden); });
  ForRows(exec, x.rows, [&](int64_t r) {
    float* y = ws.normed_.row(r);
    kernels.depthwise_f32(input.row(r), hidden, taps_.data(), hidden, before + 1, 1, hidden, y);
    ClampRow(y, config_.clip, hidden, y);
    RmsNormRow(kernels, y, conv_mid_norm_.data(), config_.norm_eps, hidden, y);
    kernels.glu_f32(y, y, y, hidden);
    ws.normed_.Quantise(kernels, r);
  });
  SaveContext(ws.conv_input_, x.rows, hidden, state.conv_input_);

  const MatF out(ws.out_.data(), tokens, hidden);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{conv_out_, ws.normed_, out}}));
  ForRows(exec, x.rows, [&](int64_t r) { kernels.axpy_f32(1.0f, out.row(r), x.row(r), hidden); });
  return Status();
}

}  // namespace hearth
