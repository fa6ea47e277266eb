#include "addon/model/text_decoder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "addon/model/decoder_steps.h"
#include "addon/model/decoder_workspace.h"
#include "addon/ops/activation.h"
#include "addon/ops/norm.h"
#include "addon/ops/panels.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// AltUp's router: m[4] = tanh(W (RMSNorm(x) / H)). `scratch` holds H values.
void Route(const hearth_kernels& kernels, const LayerWeights& w, const float* x, int64_t hidden, float eps,
           float* scratch, float* m) {
  RmsNormRow(kernels, x, w.altup_router_norm.data(), eps, hidden, scratch);
  for (int i = 0; i < kStreams; ++i) {
    m[i] = std::tanh(kernels.dot_f32(w.altup_router.data() + i * hidden, scratch, hidden) / static_cast<float>(hidden));
  }
}

}  // namespace

TextDecoder::TextDecoder(Config config, TextWeights weights)
    : config_(std::move(config)), weights_(std::move(weights)), head_(weights_.token_embd, config_.logit_soft_cap) {}

StatusOr<std::unique_ptr<TextDecoder>> TextDecoder::Load(std::shared_ptr<const GgufFile> file,
                                                         std::string_view load_slice) {
  HEARTH_ASSIGN_OR_RETURN(Config config, Config::Load(*file));
  if (!load_slice.empty()) HEARTH_RETURN_IF_ERROR(LoadOnly(config, load_slice));
  HEARTH_ASSIGN_OR_RETURN(TextWeights weights, TextWeights::Load(std::move(file), config));
  return std::unique_ptr<TextDecoder>(new TextDecoder(std::move(config), std::move(weights)));
}

void TextDecoder::EmbedToken(const hearth_kernels& kernels, int32_t id, float* out) const {
  const Weight& table = weights_.token_embd;
  table.panels != nullptr ? UnpackRow(table, id, out) : DequantizeRow(kernels, table, id, out);
  kernels.scale_f32(out, std::sqrt(static_cast<float>(config_.hidden)), nullptr, out, config_.hidden);
}

Status TextDecoder::Forward(Exec& exec, const Slice& slice, const Chunk& chunk, KvCache& cache, Workspace& ws,
                            MatF logits, Activations* head_rows, const Observer& observer) const {
  const Config& c = config_;
  int64_t tokens = chunk.embedding.rows;
  if (tokens < 1 || tokens > kMaxChunk || chunk.logits_wanted < 0 || chunk.logits_wanted > tokens) {
    return Error(Code::INTERNAL, "a chunk of %lld tokens with logits of %lld", static_cast<long long>(tokens),
                 static_cast<long long>(chunk.logits_wanted));
  }
  HEARTH_RETURN_IF_ERROR(cache.Reserve(chunk.first_position + tokens));
  HEARTH_RETURN_IF_ERROR(ws.rope_local_.Fill(c.rope_base_local, c.head_dim, chunk.first_position, tokens));
  HEARTH_RETURN_IF_ERROR(ws.rope_global_.Fill(c.rope_base_global, c.head_dim, chunk.first_position, tokens));
  HEARTH_RETURN_IF_ERROR(PerLayerInputs(exec, chunk, ws));
  HEARTH_RETURN_IF_ERROR(StartStreams(exec, chunk, ws));

  const int64_t wanted = chunk.logits_wanted;
  for (int layer = 0; layer < c.layers; ++layer) {
    if (slice.skipped[layer]) continue;
    if (layer == c.kv_layers && wanted == 0) break;
    const bool narrows = layer == c.kv_layers - 1;
    const LayerPass pass{layer,
                         weights_.layers[layer],
                         slice,
                         tokens,
                         chunk.first_position + chunk.embedding.rows - tokens,
                         narrows ? wanted : tokens};
    HEARTH_RETURN_IF_ERROR(RunLayer(exec, pass, cache, ws));
    tokens = pass.keep;
    if (observer && tokens > 0) observer(layer, ws.stream(0, tokens));
  }
  cache.Advance(chunk.first_position + chunk.embedding.rows);
  return wanted > 0 ? Logits(exec, wanted, ws, logits, head_rows) : Status();
}

// ple[t, layer] = (RMSNorm(proj_layer(e_t) / sqrt(H)) + table[id_t, layer] * sqrt(P)) / sqrt(2), for the layers that
// run: those that write K and V for every token, the others for the tokens whose logits are wanted.
Status TextDecoder::PerLayerInputs(Exec& exec, const Chunk& chunk, Workspace& ws) const {
  const Config& c = config_;
  const int64_t p = c.ple_dim, tokens = chunk.embedding.rows, dropped = tokens - chunk.logits_wanted;
  const int64_t writers = (c.kv_layers - 1) * p;  // the last of them only needs it where it goes on
  const hearth_kernels& kernels = exec.kernels();
  const float projection_scale = 1.0f / std::sqrt(static_cast<float>(c.hidden));
  const float table_scale = std::sqrt(static_cast<float>(p));
  const float half = 1.0f / std::sqrt(2.0f);

  ForRows(exec, tokens, [&](int64_t t, int) {
    std::memcpy(ws.normed_.row(t), chunk.embedding.row(t), static_cast<size_t>(c.hidden) * sizeof(float));
    ws.normed_.Quantise(kernels, t);
  });
  const Weight& projection = weights_.per_layer_model_proj;
  const MatF out(ws.ple_.data(), tokens, ws.ple_row_, ws.ple_row_);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{projection.Rows(0, writers), ws.normed_, out}}));
  if (chunk.logits_wanted > 0) {
    ws.normed_.KeepLast(tokens, chunk.logits_wanted);
    HEARTH_RETURN_IF_ERROR(
        MatMul(exec, chunk.logits_wanted,
               {{projection.Rows(writers, ws.ple_row_ - writers), ws.normed_,
                 MatF(out.row(dropped) + writers, chunk.logits_wanted, ws.ple_row_ - writers, ws.ple_row_)}}));
  }

  const Weight& table = weights_.per_layer_token_embd;
  const BlockShape shape = BlockShapeOf(table.type);
  const hearth_dequantize_fn dequantize = DequantizeOf(kernels, table.type);
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(ws.ple_row_)));
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(table.row_bytes + 3) / 4, Exec::kOuter));
  std::atomic<int64_t> unreadable{-1};
  ForRows(exec, tokens, [&](int64_t t, int thread) {
    const int64_t layers = t < dropped ? c.kv_layers - 1 : c.layers;
    // The part of the table row that is needed, in whole blocks. Read, not mapped: a row of these is used once in a
    // while, and as mapped pages they would add up to the whole table.
    const int64_t values = (layers * p + shape.values - 1) / shape.values * shape.values;
    uint8_t* stored = reinterpret_cast<uint8_t*>(exec.scratch(thread, Exec::kOuter));
    if (!weights_.file
             ->Read(table.row(chunk.ple_ids[t]), static_cast<uint64_t>(values / shape.values * shape.bytes), stored)
             .ok()) {
      unreadable = t;
      return;
    }
    float* rows = exec.scratch(thread);
    dequantize(stored, values, rows);
    for (int64_t layer = 0; layer < layers; ++layer) {
      float* row = out.row(t) + layer * p;
      kernels.scale_f32(row, projection_scale, nullptr, row, p);
      RmsNormRow(kernels, row, weights_.per_layer_proj_norm.data(), c.norm_eps, p, row);
      kernels.axpy_f32(table_scale, rows + layer * p, row, p);
      kernels.scale_f32(row, half, nullptr, row, p);
    }
  });
  if (const int64_t t = unreadable; t >= 0) {
    uint8_t byte;
    HEARTH_RETURN_IF_ERROR(weights_.file->Read(table.row(chunk.ple_ids[t]), 1, &byte));
    return Error(Code::GGUF_TRUNCATED, "the per-layer embedding of token %d cannot be read", chunk.ple_ids[t]);
  }
  return Status();
}

// normed holds the embedding rows (PerLayerInputs may have kept only the last of them).
Status TextDecoder::StartStreams(Exec& exec, const Chunk& chunk, Workspace& ws) const {
  const int64_t h = config_.hidden, tokens = chunk.embedding.rows;
  const hearth_kernels& kernels = exec.kernels();
  const MatF first = ws.stream(0, tokens);
  ForRows(exec, tokens, [&](int64_t t, int) {
    std::memcpy(first.row(t), chunk.embedding.row(t), static_cast<size_t>(h) * sizeof(float));
    std::memcpy(ws.normed_.row(t), first.row(t), static_cast<size_t>(h) * sizeof(float));
    ws.normed_.Quantise(kernels, t);
  });
  const auto project = [&](int i) {
    return Product{weights_.altup_proj.Rows((i - 1) * h, h), ws.normed_, ws.stream(i, tokens)};
  };
  static_assert(kStreams == 4);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {project(1), project(2), project(3)}));
  ForRows(exec, tokens, [&](int64_t t, int) {
    const float target = kernels.sum_squares_f32(first.row(t), h) / static_cast<float>(h);
    for (int i = 1; i < kStreams; ++i) RescaleRow(kernels, target, h, ws.stream(i, tokens).row(t));
  });
  return Status();
}

Status TextDecoder::RunLayer(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const {
  const Config& c = config_;
  const int64_t h = c.hidden;
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();

  // AltUp predict: prediction i = h_i + sum_j coef[i][j] h_j. Rows that stop at K and V only need prediction 0.
  const int64_t dropped = pass.tokens - pass.keep;
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(h)));
  ForRows(exec, pass.tokens, [&](int64_t t, int thread) {
    float m[kStreams], coef[kStreams * kStreams];
    Route(kernels, w, ws.stream(0, pass.tokens).row(t), h, c.norm_eps, exec.scratch(thread), m);
    for (int i = 0; i < kStreams * kStreams; ++i) {
      coef[i] = 0;
      for (int j = 0; j < kStreams; ++j) coef[i] += w.altup_predict_coef[i * kStreams + j] * m[j];
    }
    const int needed = t < dropped ? 1 : kStreams;
    for (int i = 0; i < needed; ++i) {
      float* out = ws.prediction(i, pass.tokens).row(t);
      std::memcpy(out, ws.stream(i, pass.tokens).row(t), static_cast<size_t>(h) * sizeof(float));
      for (int j = 0; j < kStreams; ++j)
        kernels.axpy_f32(coef[i * kStreams + j], ws.stream(j, pass.tokens).row(t), out, h);
    }
    RmsNormRow(kernels, ws.prediction(0, pass.tokens).row(t), w.attn_norm.data(), c.norm_eps, h, ws.normed_.row(t));
    ws.normed_.Quantise(kernels, t);
  });

  HEARTH_RETURN_IF_ERROR(SelfAttention(exec, pass, cache, ws));
  if (pass.keep == 0) return Status();
  HEARTH_RETURN_IF_ERROR(AddBranches(exec, pass, ws));
  HEARTH_RETURN_IF_ERROR(FeedForward(exec, pass, ws));

  // The FFN's residual, then AltUp correct: stream i = prediction i + (o - prediction 0) * (coef'(m')_i + 1).
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(h)));
  ForRows(exec, pass.keep, [&](int64_t t, int thread) {
    float m[kStreams];
    float* o = ws.residual_.data() + t * h;
    float* down = ws.attention_.data() + t * h;
    RmsNormRow(kernels, down, w.post_ffw_norm.data(), c.norm_eps, h, down);
    kernels.axpy_f32(1.0f, down, o, h);
    Route(kernels, w, o, h, c.norm_eps, exec.scratch(thread), m);
    kernels.axpy_f32(-1.0f, ws.prediction(0, pass.keep).row(t), o, h);
    for (int i = 0; i < kStreams; ++i) {
      float coef = 1.0f;
      for (int j = 0; j < kStreams; ++j) coef += w.altup_correct_coef[i * kStreams + j] * m[j];
      float* out = ws.stream(i, pass.keep).row(t);
      std::memcpy(out, ws.prediction(i, pass.keep).row(t), static_cast<size_t>(h) * sizeof(float));
      kernels.axpy_f32(coef, o, out, h);
    }
    kernels.scale_f32(ws.stream(0, pass.keep).row(t), 1.0f, w.altup_correct_scale.data(), ws.normed_.row(t), h);
    ws.normed_.Quantise(kernels, t);
  });

  return InjectPle(exec, pass, ws);
}

// attention (the projection's output) and laurel -> residual = y, and normed = RMSNorm(y) for the FFN.
// LAuReL is a low-rank residual beside the attention: laurel = n + RMSNorm(R(L(n))), n the attention's input.
Status TextDecoder::AddBranches(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const LayerWeights& w = pass.weights;
  const int64_t h = config_.hidden;
  const hearth_kernels& kernels = exec.kernels();
  const float half = 1.0f / std::sqrt(2.0f);
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    float* attention = ws.attention_.data() + t * h;
    float* laurel = ws.laurel_.data() + t * h;
    float* y = ws.residual_.data() + t * h;
    RmsNormRow(kernels, laurel, w.laurel_post_norm.data(), config_.norm_eps, h, laurel);
    kernels.axpy_f32(1.0f, ws.normed_.row(t), laurel, h);
    RmsNormRow(kernels, attention, w.post_attention_norm.data(), config_.norm_eps, h, attention);
    std::memcpy(y, ws.prediction(0, pass.keep).row(t), static_cast<size_t>(h) * sizeof(float));
    kernels.axpy_f32(1.0f, attention, y, h);
    kernels.axpy_f32(1.0f, laurel, y, h);
    kernels.scale_f32(y, half, nullptr, y, h);
    RmsNormRow(kernels, y, w.ffn_norm.data(), config_.norm_eps, h, ws.normed_.row(t));
    ws.normed_.Quantise(kernels, t);
  });
  return Status();
}

// normed holds h0 * correct_scale: streams 1..3 += RMSNorm(proj(GELU(gate(.)) * ple)).
Status TextDecoder::InjectPle(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const Config& c = config_;
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();
  const MatF projected(ws.attention_.data(), pass.keep, c.hidden);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, pass.keep, {{w.inp_gate, ws.normed_, ws.gated_.values(pass.keep)}}));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    GeluTanhMulRow(ws.gated_.row(t), ws.ple_.data() + t * ws.ple_row_ + pass.index * c.ple_dim, c.ple_dim);
    ws.gated_.Quantise(kernels, t);
  });
  HEARTH_RETURN_IF_ERROR(MatMul(exec, pass.keep, {{w.proj, ws.gated_, projected}}));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    RmsNormRow(kernels, projected.row(t), w.post_norm.data(), c.norm_eps, c.hidden, projected.row(t));
    for (int i = 1; i < kStreams; ++i)
      kernels.axpy_f32(1.0f, projected.row(t), ws.stream(i, pass.keep).row(t), c.hidden);
  });
  return Status();
}

}  // namespace hearth
