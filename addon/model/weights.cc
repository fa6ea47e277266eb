#include "addon/model/weights.h"

#include <string>

#include "addon/model/tensor_loader.h"

namespace hearth {

StatusOr<TextWeights> TextWeights::Load(std::shared_ptr<const GgufFile> file, const Config& c) {
  const TensorLoader loader(*file);
  TextWeights w;
  const int64_t h = c.hidden;
#define MATRIX(field, name, rows, cols) HEARTH_ASSIGN_OR_RETURN(field, loader.Matrix(name, rows, cols))
#define VECTOR(field, name, n) HEARTH_ASSIGN_OR_RETURN(field, loader.Vector(name, n))
  MATRIX(w.token_embd, "token_embd.weight", c.vocab, h);
  MATRIX(w.per_layer_token_embd, "per_layer_token_embd.weight", -1, c.layers * c.ple_dim);
  MATRIX(w.per_layer_model_proj, "per_layer_model_proj.weight", c.layers * c.ple_dim, h);
  VECTOR(w.per_layer_proj_norm, "per_layer_proj_norm.weight", c.ple_dim);
  MATRIX(w.altup_proj, "altup_proj.weight", (kStreams - 1) * h, h);
  MATRIX(w.altup_unembd_proj, "altup_unembd_proj.weight", (kStreams - 1) * h, h);
  VECTOR(w.output_norm, "output_norm.weight", h);
  for (int i = 0; i < c.layers; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    const int64_t width = c.ffn_width[i];
    LayerWeights l;
    VECTOR(l.attn_norm, blk + "attn_norm.weight", h);
    MATRIX(l.attn_q, blk + "attn_q.weight", c.q_dim(), h);
    if (i < c.kv_layers) {
      MATRIX(l.attn_k, blk + "attn_k.weight", c.kv_dim(), h);
      MATRIX(l.attn_v, blk + "attn_v.weight", c.kv_dim(), h);
      VECTOR(l.attn_k_norm, blk + "attn_k_norm.weight", c.head_dim);
    }
    MATRIX(l.attn_output, blk + "attn_output.weight", h, c.q_dim());
    VECTOR(l.attn_q_norm, blk + "attn_q_norm.weight", c.head_dim);
    VECTOR(l.post_attention_norm, blk + "post_attention_norm.weight", h);
    VECTOR(l.ffn_norm, blk + "ffn_norm.weight", h);
    MATRIX(l.ffn_gate, blk + "ffn_gate.weight", width, h);
    MATRIX(l.ffn_up, blk + "ffn_up.weight", width, h);
    MATRIX(l.ffn_down, blk + "ffn_down.weight", h, width);
    VECTOR(l.post_ffw_norm, blk + "post_ffw_norm.weight", h);
    MATRIX(l.laurel_l, blk + "laurel_l.weight", -1, h);
    MATRIX(l.laurel_r, blk + "laurel_r.weight", h, l.laurel_l.rows);
    VECTOR(l.laurel_post_norm, blk + "laurel_post_norm.weight", h);
    VECTOR(l.altup_router, blk + "altup_router.weight", kStreams * h);
    VECTOR(l.altup_router_norm, blk + "altup_router_norm.weight", h);
    VECTOR(l.altup_predict_coef, blk + "altup_predict_coef.weight", kStreams * kStreams * kStreams);
    VECTOR(l.altup_correct_coef, blk + "altup_correct_coef.weight", kStreams * kStreams);
    VECTOR(l.altup_correct_scale, blk + "altup_correct_scale.weight", h);
    MATRIX(l.inp_gate, blk + "inp_gate.weight", c.ple_dim, h);
    MATRIX(l.proj, blk + "proj.weight", h, c.ple_dim);
    VECTOR(l.post_norm, blk + "post_norm.weight", h);
    w.layers.push_back(std::move(l));
  }
#undef MATRIX
#undef VECTOR
  w.file = std::move(file);
  return w;
}

}  // namespace hearth
