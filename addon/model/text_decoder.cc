#include "addon/model/text_decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "addon/ops/activation.h"
#include "addon/ops/attention.h"
#include "addon/ops/norm.h"

namespace hearth {

// One layer's view of the chunk in hand.
struct TextDecoder::LayerPass {
  int index;  // in the file
  const LayerWeights& weights;
  const Slice& slice;
  int64_t tokens;          // rows the layer starts with
  int64_t first_position;  // of the first row
  int64_t keep;            // rows that go on past K and V; less than `tokens` only in the last layer that writes them
};

namespace {

// AltUp's router: m[4] = tanh(W (RMSNorm(x) / H)). `scratch` holds H values.
void Route(const hearth_kernels& kernels, const LayerWeights& w, const float* x, int64_t hidden, float eps,
           float* scratch, float* m) {
  RmsNormRow(kernels, x, w.altup_router_norm.data(), eps, hidden, scratch);
  for (int i = 0; i < kStreams; ++i) {
    m[i] = std::tanh(kernels.dot_f32(w.altup_router.data() + i * hidden, scratch, hidden) / static_cast<float>(hidden));
  }
}

// Runs body(row) for every row, rows shared among the threads.
template <typename Body>
void ForRows(Exec& exec, int64_t rows, Body&& body) {
  exec.pool().For(rows, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t row = begin; row < end; ++row) body(row, thread);
  });
}

}  // namespace

StatusOr<std::unique_ptr<TextDecoder>> TextDecoder::Load(std::shared_ptr<const GgufFile> file) {
  HEARTH_ASSIGN_OR_RETURN(Config config, Config::Load(*file));
  HEARTH_ASSIGN_OR_RETURN(TextWeights weights, TextWeights::Load(std::move(file), config));
  return std::unique_ptr<TextDecoder>(new TextDecoder(std::move(config), std::move(weights)));
}

Status TextDecoder::Workspace::Allocate(const Config& c) {
  hidden_ = c.hidden;
  ple_row_ = c.layers * c.ple_dim;
  const int64_t widest = *std::max_element(c.ffn_width.begin(), c.ffn_width.end());
  const auto reset = [](Buffer& buffer, int64_t columns) {
    return buffer.Reset(static_cast<size_t>(kMaxChunk * columns));
  };
  HEARTH_RETURN_IF_ERROR(reset(streams_, kStreams * c.hidden));
  HEARTH_RETURN_IF_ERROR(reset(predictions_, kStreams * c.hidden));
  HEARTH_RETURN_IF_ERROR(reset(ple_, ple_row_));
  for (Buffer* buffer : {&normed_, &laurel_, &attention_, &residual_}) HEARTH_RETURN_IF_ERROR(reset(*buffer, c.hidden));
  for (Buffer* buffer : {&query_, &attended_}) HEARTH_RETURN_IF_ERROR(reset(*buffer, c.q_dim()));
  for (Buffer* buffer : {&gate_, &up_}) HEARTH_RETURN_IF_ERROR(reset(*buffer, widest));
  return Status();
}

void TextDecoder::Workspace::KeepLast(int64_t tokens, int64_t keep) {
  const auto shift = [&](float* rows, int64_t columns) {
    std::memmove(rows, rows + (tokens - keep) * columns, static_cast<size_t>(keep * columns) * sizeof(float));
  };
  for (int i = 0; i < kStreams; ++i) shift(stream(i, tokens).data, hidden_);
  shift(ple_.data(), ple_row_);
  shift(normed_.data(), hidden_);
}

void TextDecoder::EmbedToken(const hearth_kernels& kernels, int32_t id, float* out) const {
  DequantizeRow(kernels, weights_.token_embd, id, out);
  kernels.scale_f32(out, std::sqrt(static_cast<float>(config_.hidden)), nullptr, out, config_.hidden);
}

Status TextDecoder::Forward(Exec& exec, const Slice& slice, const Chunk& chunk, KvCache& cache, Workspace& ws,
                            MatF logits, const Observer& observer) const {
  const Config& c = config_;
  int64_t tokens = chunk.embedding.rows;
  if (tokens < 1 || tokens > kMaxChunk || chunk.logits_wanted < 0 || chunk.logits_wanted > tokens) {
    return Error(Code::INTERNAL, "a chunk of %lld tokens with logits of %lld", static_cast<long long>(tokens),
                 static_cast<long long>(chunk.logits_wanted));
  }
  HEARTH_RETURN_IF_ERROR(cache.Reserve(chunk.first_position + tokens, chunk.first_position));
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(c.hidden)));
  HEARTH_RETURN_IF_ERROR(ws.rope_local_.Fill(c.rope_base_local, c.head_dim, chunk.first_position, tokens));
  HEARTH_RETURN_IF_ERROR(ws.rope_global_.Fill(c.rope_base_global, c.head_dim, chunk.first_position, tokens));
  HEARTH_RETURN_IF_ERROR(PerLayerInputs(exec, slice, chunk, ws));
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
  return wanted > 0 ? Logits(exec, wanted, ws, logits) : Status();
}

// ple[t, layer] = (RMSNorm(proj_layer(e_t) / sqrt(H)) + table[id_t, layer] * sqrt(P)) / sqrt(2), for the layers that
// run.
Status TextDecoder::PerLayerInputs(Exec& exec, const Slice& slice, const Chunk& chunk, Workspace& ws) const {
  const Config& c = config_;
  const int64_t p = c.ple_dim, tokens = chunk.embedding.rows;
  const hearth_kernels& kernels = exec.kernels();
  const int last = chunk.logits_wanted > 0 ? c.layers : c.kv_layers - 1;
  const float projection_scale = 1.0f / std::sqrt(static_cast<float>(c.hidden));
  const float table_scale = std::sqrt(static_cast<float>(p));
  const float half = 1.0f / std::sqrt(2.0f);
  const BlockShape shape = BlockShapeOf(weights_.per_layer_token_embd.type);
  const hearth_dequantize_fn dequantize = DequantizeOf(kernels, weights_.per_layer_token_embd.type);
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(2 * p + 64)));
  for (int layer = 0; layer < last; ++layer) {
    if (slice.skipped[layer]) continue;
    MatF out(ws.ple_.data() + layer * p, tokens, p, ws.ple_row_);
    HEARTH_RETURN_IF_ERROR(MatMul(exec, weights_.per_layer_model_proj.Rows(layer * p, p), chunk.embedding, out));
    // A layer's part of a table row need not begin on a block; it does in every released model.
    const int64_t begin = layer * p / shape.values * shape.values, lead = layer * p - begin;
    const int64_t span = (lead + p + shape.values - 1) / shape.values * shape.values;
    HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(span)));
    ForRows(exec, tokens, [&](int64_t t, int thread) {
      float* row = out.row(t);
      float* table = exec.scratch(thread);
      dequantize(weights_.per_layer_token_embd.row(chunk.ple_ids[t]) + begin / shape.values * shape.bytes, span, table);
      kernels.scale_f32(row, projection_scale, nullptr, row, p);
      RmsNormRow(kernels, row, weights_.per_layer_proj_norm.data(), c.norm_eps, p, row);
      kernels.axpy_f32(table_scale, table + lead, row, p);
      kernels.scale_f32(row, half, nullptr, row, p);
    });
  }
  return Status();
}

Status TextDecoder::StartStreams(Exec& exec, const Chunk& chunk, Workspace& ws) const {
  const int64_t h = config_.hidden, tokens = chunk.embedding.rows;
  const hearth_kernels& kernels = exec.kernels();
  const MatF first = ws.stream(0, tokens);
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(first.row(t), chunk.embedding.row(t), static_cast<size_t>(h) * sizeof(float));
  for (int i = 1; i < kStreams; ++i) {
    const MatF stream = ws.stream(i, tokens);
    HEARTH_RETURN_IF_ERROR(MatMul(exec, weights_.altup_proj.Rows((i - 1) * h, h), first, stream));
    ForRows(exec, tokens, [&](int64_t t, int) {
      RescaleRow(kernels, kernels.sum_squares_f32(first.row(t), h) / static_cast<float>(h), h, stream.row(t));
    });
  }
  return Status();
}

Status TextDecoder::RunLayer(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const {
  const Config& c = config_;
  const int64_t h = c.hidden;
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();

  // AltUp predict: prediction i = h_i + sum_j coef[i][j] h_j. Rows that stop at K and V only need prediction 0.
  const int64_t dropped = pass.tokens - pass.keep;
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
    RmsNormRow(kernels, ws.prediction(0, pass.tokens).row(t), w.attn_norm.data(), c.norm_eps, h,
               ws.normed_.data() + t * h);
  });

  HEARTH_RETURN_IF_ERROR(SelfAttention(exec, pass, cache, ws));
  if (pass.keep == 0) return Status();
  HEARTH_RETURN_IF_ERROR(Laurel(exec, pass, ws));

  const float half = 1.0f / std::sqrt(2.0f);
  const MatF residual(ws.residual_.data(), pass.keep, h);
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    float* attention = ws.attention_.data() + t * h;
    float* y = residual.row(t);
    RmsNormRow(kernels, attention, w.post_attention_norm.data(), c.norm_eps, h, attention);
    std::memcpy(y, ws.prediction(0, pass.keep).row(t), static_cast<size_t>(h) * sizeof(float));
    kernels.axpy_f32(1.0f, attention, y, h);
    kernels.axpy_f32(1.0f, ws.laurel_.data() + t * h, y, h);
    kernels.scale_f32(y, half, nullptr, y, h);
    RmsNormRow(kernels, y, w.ffn_norm.data(), c.norm_eps, h, ws.normed_.data() + t * h);
  });

  HEARTH_RETURN_IF_ERROR(FeedForward(exec, pass, ws));

  // AltUp correct: stream i = prediction i + (o - prediction 0) * (coef'(m')_i + 1).
  ForRows(exec, pass.keep, [&](int64_t t, int thread) {
    float m[kStreams];
    float* o = residual.row(t);
    Route(kernels, w, o, h, c.norm_eps, exec.scratch(thread), m);
    kernels.axpy_f32(-1.0f, ws.prediction(0, pass.keep).row(t), o, h);
    for (int i = 0; i < kStreams; ++i) {
      float coef = 1.0f;
      for (int j = 0; j < kStreams; ++j) coef += w.altup_correct_coef[i * kStreams + j] * m[j];
      float* out = ws.stream(i, pass.keep).row(t);
      std::memcpy(out, ws.prediction(i, pass.keep).row(t), static_cast<size_t>(h) * sizeof(float));
      kernels.axpy_f32(coef, o, out, h);
    }
    kernels.scale_f32(ws.stream(0, pass.keep).row(t), 1.0f, w.altup_correct_scale.data(), ws.normed_.data() + t * h, h);
  });

  return InjectPle(exec, pass, ws);
}

// normed -> attention: K and V of every row into the cache, then the rows that go on attend.
Status TextDecoder::SelfAttention(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const {
  const Config& c = config_;
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();
  const bool local = c.local[pass.index];
  const RopeTable& rope = local ? ws.rope_local_ : ws.rope_global_;
  const int64_t d = c.head_dim;
  if (pass.index < c.kv_layers) {
    const ConstMatF normed(ws.normed_.data(), pass.tokens, c.hidden);
    const MatF keys = cache.keys(pass.index).Rows(pass.first_position, pass.tokens);
    const MatF values = cache.values(pass.index).Rows(pass.first_position, pass.tokens);
    HEARTH_RETURN_IF_ERROR(MatMul(exec, w.attn_k, normed, keys));
    HEARTH_RETURN_IF_ERROR(MatMul(exec, w.attn_v, normed, values));
    ForRows(exec, pass.tokens, [&](int64_t t, int) {
      for (int head = 0; head < c.kv_heads; ++head) {
        float* k = keys.row(t) + head * d;
        float* v = values.row(t) + head * d;
        RmsNormRow(kernels, k, w.attn_k_norm.data(), c.norm_eps, d, k);
        rope.Rotate(t, k);
        RmsNormRow(kernels, v, nullptr, c.norm_eps, d, v);
      }
    });
  }
  if (pass.keep == 0) return Status();
  const int64_t dropped = pass.tokens - pass.keep;
  if (dropped > 0) {
    ws.KeepLast(pass.tokens, pass.keep);
    for (int i = 0; i < kStreams; ++i) {
      std::memmove(ws.prediction(i, pass.keep).data, ws.prediction(i, pass.tokens).row(dropped),
                   static_cast<size_t>(pass.keep * c.hidden) * sizeof(float));
    }
    // The rows that are left sit at later positions of the tables.
    HEARTH_RETURN_IF_ERROR(ws.rope_local_.Fill(c.rope_base_local, d, pass.first_position + dropped, pass.keep));
    HEARTH_RETURN_IF_ERROR(ws.rope_global_.Fill(c.rope_base_global, d, pass.first_position + dropped, pass.keep));
  }
  const MatF query(ws.query_.data(), pass.keep, c.q_dim());
  HEARTH_RETURN_IF_ERROR(MatMul(exec, w.attn_q, ConstMatF(ws.normed_.data(), pass.keep, c.hidden), query));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    for (int head = 0; head < c.heads; ++head) {
      float* q = query.row(t) + head * d;
      RmsNormRow(kernels, q, w.attn_q_norm.data(), c.norm_eps, d, q);
      rope.Rotate(t, q);
    }
  });
  const int source = c.kv_source[pass.index];
  const MatF attended(ws.attended_.data(), pass.keep, c.q_dim());
  HEARTH_RETURN_IF_ERROR(Attention(exec, {c.heads, c.kv_heads, d, local ? c.window : 0}, query,
                                   pass.first_position + dropped, cache.keys(source), cache.values(source), attended));
  return MatMul(exec, w.attn_output, attended, MatF(ws.attention_.data(), pass.keep, c.hidden));
}

// LAuReL, a low-rank residual beside the attention: laurel = n + RMSNorm(R(L(n))).
Status TextDecoder::Laurel(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const LayerWeights& w = pass.weights;
  const int64_t h = config_.hidden;
  HEARTH_RETURN_IF_ERROR(ws.low_rank_.Reserve(static_cast<size_t>(kMaxChunk * w.laurel_l.rows)));
  const ConstMatF normed(ws.normed_.data(), pass.keep, h);
  const MatF low_rank(ws.low_rank_.data(), pass.keep, w.laurel_l.rows);
  const MatF laurel(ws.laurel_.data(), pass.keep, h);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, w.laurel_l, normed, low_rank));
  HEARTH_RETURN_IF_ERROR(MatMul(exec, w.laurel_r, low_rank, laurel));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    RmsNormRow(exec.kernels(), laurel.row(t), w.laurel_post_norm.data(), config_.norm_eps, h, laurel.row(t));
    exec.kernels().axpy_f32(1.0f, normed.row(t), laurel.row(t), h);
  });
  return Status();
}

// normed -> residual += RMSNorm(down(GELU(top-k(gate)) * up)), over the slice's neurons.
Status TextDecoder::FeedForward(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const Config& c = config_;
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();
  const int64_t width = pass.slice.ffn_width[pass.index];
  const float z = c.sparsity_z[pass.index];
  const ConstMatF normed(ws.normed_.data(), pass.keep, c.hidden);
  const MatF gate(ws.gate_.data(), pass.keep, width);
  const MatF up(ws.up_.data(), pass.keep, width);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, w.ffn_gate.Rows(0, width), normed, gate));
  HEARTH_RETURN_IF_ERROR(MatMul(exec, w.ffn_up.Rows(0, width), normed, up));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    float* g = gate.row(t);
    const float* u = up.row(t);
    if (std::isfinite(z)) {
      // Gaussian top-k (HF _gaussian_topk): what lies below mean + z * std of the row is zero. Divisor n, not n - 1.
      double mean = 0, variance = 0;
      for (int64_t i = 0; i < width; ++i) mean += g[i];
      mean /= static_cast<double>(width);
      for (int64_t i = 0; i < width; ++i) variance += (g[i] - mean) * (g[i] - mean);
      const float cutoff = static_cast<float>(mean + z * std::sqrt(variance / static_cast<double>(width)));
      for (int64_t i = 0; i < width; ++i) g[i] = g[i] > cutoff ? GeluTanh(g[i] - cutoff) * u[i] : 0.0f;
    } else {
      for (int64_t i = 0; i < width; ++i) g[i] = GeluTanh(g[i]) * u[i];
    }
  });
  const MatF down(ws.attention_.data(), pass.keep, c.hidden);
  HEARTH_RETURN_IF_ERROR(MatMulPrefix(exec, w.ffn_down, width, gate, down));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    RmsNormRow(kernels, down.row(t), w.post_ffw_norm.data(), c.norm_eps, c.hidden, down.row(t));
    kernels.axpy_f32(1.0f, down.row(t), ws.residual_.data() + t * c.hidden, c.hidden);
  });
  return Status();
}

// normed holds h0 * correct_scale: streams 1..3 += RMSNorm(proj(GELU(gate(.)) * ple)).
Status TextDecoder::InjectPle(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const Config& c = config_;
  const LayerWeights& w = pass.weights;
  HEARTH_RETURN_IF_ERROR(ws.low_rank_.Reserve(static_cast<size_t>(kMaxChunk * c.ple_dim)));
  const MatF gate(ws.low_rank_.data(), pass.keep, c.ple_dim);
  const MatF projected(ws.attention_.data(), pass.keep, c.hidden);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, w.inp_gate, ConstMatF(ws.normed_.data(), pass.keep, c.hidden), gate));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    const float* ple = ws.ple_.data() + t * ws.ple_row_ + pass.index * c.ple_dim;
    for (int64_t i = 0; i < c.ple_dim; ++i) gate.row(t)[i] = GeluTanh(gate.row(t)[i]) * ple[i];
  });
  HEARTH_RETURN_IF_ERROR(MatMul(exec, w.proj, gate, projected));
  ForRows(exec, pass.keep, [&](int64_t t, int) {
    RmsNormRow(exec.kernels(), projected.row(t), w.post_norm.data(), c.norm_eps, c.hidden, projected.row(t));
    for (int i = 1; i < kStreams; ++i)
      exec.kernels().axpy_f32(1.0f, projected.row(t), ws.stream(i, pass.keep).row(t), c.hidden);
  });
  return Status();
}

Status TextDecoder::Logits(Exec& exec, int64_t tokens, Workspace& ws, MatF logits) const {
  const Config& c = config_;
  const hearth_kernels& kernels = exec.kernels();
  const MatF first = ws.stream(0, tokens);
  const MatF mean(ws.normed_.data(), tokens, c.hidden);
  for (int64_t t = 0; t < tokens; ++t)
    std::memcpy(mean.row(t), first.row(t), static_cast<size_t>(c.hidden) * sizeof(float));
  for (int i = 1; i < kStreams; ++i) {
    const MatF projected(ws.attention_.data(), tokens, c.hidden);
    HEARTH_RETURN_IF_ERROR(
        MatMul(exec, weights_.altup_unembd_proj.Rows((i - 1) * c.hidden, c.hidden), ws.stream(i, tokens), projected));
    ForRows(exec, tokens, [&](int64_t t, int) {
      RescaleRow(kernels, kernels.sum_squares_f32(first.row(t), c.hidden) / static_cast<float>(c.hidden), c.hidden,
                 projected.row(t));
      kernels.axpy_f32(1.0f, projected.row(t), mean.row(t), c.hidden);
    });
  }
  ForRows(exec, tokens, [&](int64_t t, int) {
    kernels.scale_f32(mean.row(t), 1.0f / kStreams, nullptr, mean.row(t), c.hidden);
    RmsNormRow(kernels, mean.row(t), weights_.output_norm.data(), c.norm_eps, c.hidden, mean.row(t));
  });
  HEARTH_RETURN_IF_ERROR(MatMul(exec, weights_.token_embd, mean, logits));
  exec.pool().For(c.vocab, 1024, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = begin; i < end; ++i) logits.row(t)[i] = SoftCap(logits.row(t)[i], c.logit_soft_cap);
    }
  });
  return Status();
}

}  // namespace hearth
