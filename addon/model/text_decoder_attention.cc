// TextDecoder's attention: K and V into the cache, then the rows that go on attend.
#include <cstring>

#include "addon/model/decoder_steps.h"
#include "addon/model/decoder_workspace.h"
#include "addon/ops/attention.h"
#include "addon/ops/matmul.h"
#include "addon/ops/norm.h"

namespace hearth {

// normed -> attention (the output projection's rows) and laurel (R(L(n)), not normalised yet).
Status TextDecoder::SelfAttention(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const {
  const Config& c = config_;
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();
  const bool local = c.local[pass.index], writes = pass.index < c.kv_layers;
  const int64_t d = c.head_dim, rank = w.laurel_l.rows, keep = pass.keep;
  const int64_t first_kept = pass.first_position + pass.tokens - keep;
  HEARTH_RETURN_IF_ERROR(ws.low_rank_.Reserve(kMaxChunk, rank));

  const MatF query(ws.query_.data(), keep, c.q_dim());
  const MatF low_rank = ws.low_rank_.values(keep);
  const MatF keys(ws.keys_.data(), pass.tokens, c.kv_dim()), values(ws.values_.data(), pass.tokens, c.kv_dim());
  if (writes && keep == pass.tokens) {
    HEARTH_RETURN_IF_ERROR(MatMul(exec, keep,
                                  {{w.attn_q, ws.normed_, query},
                                   {w.attn_k, ws.normed_, keys},
                                   {w.attn_v, ws.normed_, values},
                                   {w.laurel_l, ws.normed_, low_rank}}));
    HEARTH_RETURN_IF_ERROR(StoreKeysAndValues(exec, pass, cache, ws));
  } else {
    if (writes) {
      HEARTH_RETURN_IF_ERROR(MatMul(exec, pass.tokens, {{w.attn_k, ws.normed_, keys}, {w.attn_v, ws.normed_, values}}));
      HEARTH_RETURN_IF_ERROR(StoreKeysAndValues(exec, pass, cache, ws));
      if (keep == 0) return Status();
      ws.KeepLast(pass.tokens, keep);
      // The rows that are left sit at later positions of the tables.
      HEARTH_RETURN_IF_ERROR(ws.rope_local_.Fill(c.rope_base_local, d, first_kept, keep));
      HEARTH_RETURN_IF_ERROR(ws.rope_global_.Fill(c.rope_base_global, d, first_kept, keep));
    }
    HEARTH_RETURN_IF_ERROR(MatMul(exec, keep, {{w.attn_q, ws.normed_, query}, {w.laurel_l, ws.normed_, low_rank}}));
  }

  const RopeTable& rope = local ? ws.rope_local_ : ws.rope_global_;
  ForRows(exec, keep, [&](int64_t t, int) {
    for (int head = 0; head < c.heads; ++head) {
      float* q = query.row(t) + head * d;
      RmsNormRow(kernels, q, w.attn_q_norm.data(), c.norm_eps, d, q);
      rope.Rotate(t, q);
    }
    ws.low_rank_.Quantise(kernels, t);
  });
  HEARTH_RETURN_IF_ERROR(Attention(exec, {c.heads, c.kv_heads, d, local ? c.window : 0}, query, first_kept,
                                   cache.rows(c.kv_source[pass.index]), ws.attended_.values(keep)));
  ForRows(exec, keep, [&](int64_t t, int) { ws.attended_.Quantise(kernels, t); });
  return MatMul(exec, keep,
                {{w.attn_output, ws.attended_, MatF(ws.attention_.data(), keep, c.hidden)},
                 {w.laurel_r, ws.low_rank_, MatF(ws.laurel_.data(), keep, c.hidden)}});
}

// keys and values of every row: normalised, keys rotated, and kept.
Status TextDecoder::StoreKeysAndValues(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const {
  const Config& c = config_;
  const hearth_kernels& kernels = exec.kernels();
  const RopeTable& rope = c.local[pass.index] ? ws.rope_local_ : ws.rope_global_;
  ForRows(exec, pass.tokens, [&](int64_t t, int) {
    float* key = ws.keys_.data() + t * c.kv_dim();
    float* value = ws.values_.data() + t * c.kv_dim();
    for (int head = 0; head < c.kv_heads; ++head) {
      float* k = key + head * c.head_dim;
      float* v = value + head * c.head_dim;
      RmsNormRow(kernels, k, pass.weights.attn_k_norm.data(), c.norm_eps, c.head_dim, k);
      rope.Rotate(t, k);
      RmsNormRow(kernels, v, nullptr, c.norm_eps, c.head_dim, v);
    }
    cache.Store(kernels, pass.index, pass.first_position + t, key, value);
  });
  return Status();
}

}  // namespace hearth
