// The tensors of the text model. Load leaves matrices where they lie in the map; Pack moves those that the kernels
// multiply in 8 bits into panels (ops/panels.h) or columns. The small ones (norms, AltUp's coefficients) are float32
// copies.
#ifndef HEARTH_MODEL_WEIGHTS_H_
#define HEARTH_MODEL_WEIGHTS_H_

#include <functional>
#include <memory>
#include <vector>

#include "addon/base/aligned_buffer.h"
#include "addon/base/arena.h"
#include "addon/base/status.h"
#include "addon/base/thread_pool.h"
#include "addon/gguf/gguf.h"
#include "addon/model/config.h"
#include "addon/ops/matmul.h"

namespace hearth {

using FloatVector = AlignedBuffer<float>;

// The down projection of a sparse layer, a neuron's weights in one place: those of neurons that are off are not read.
struct ColumnWeight {
  uint32_t type = 0;                 // hearth_block_type
  int64_t rows = 0;                  // outputs, H
  const uint8_t* codes = nullptr;    // [neuron][H], the codes of one block of the type for every 32 outputs
  const uint16_t* scales = nullptr;  // [neuron / 32][H] float16

  bool empty() const { return codes == nullptr; }
  const uint8_t* neuron(int64_t n) const { return codes + n * CodeBytes(rows); }
  int64_t CodeBytes(int64_t values) const;
};

// Shapes: H hidden, P per-layer embedding width, F FFN width of the layer, R LAuReL rank, Q and K query and key widths.
struct LayerWeights {
  FloatVector attn_norm;            // [H]
  Weight attn_q;                    // [Q, H]
  Weight attn_k, attn_v;            // [K, H]; empty in layers that share a KV cache
  Weight attn_output;               // [H, Q]
  FloatVector attn_q_norm;          // [head]
  FloatVector attn_k_norm;          // [head]; empty like attn_k
  FloatVector post_attention_norm;  // [H]
  FloatVector ffn_norm;             // [H]
  Weight ffn_gate, ffn_up;          // [F, H]
  Weight ffn_down;                  // [H, F]; empty when the columns are there
  ColumnWeight ffn_down_columns;    // layers with activation sparsity, once packed
  FloatVector post_ffw_norm;        // [H]
  Weight laurel_l;                  // [R, H]
  Weight laurel_r;                  // [H, R]
  FloatVector laurel_post_norm;     // [H]
  FloatVector altup_router;         // [4, H]
  FloatVector altup_router_norm;    // [H]
  FloatVector altup_predict_coef;   // [16, 4]
  FloatVector altup_correct_coef;   // [4, 4]
  FloatVector altup_correct_scale;  // [H]
  Weight inp_gate;                  // [P, H]
  Weight proj;                      // [H, P]
  FloatVector post_norm;            // [H]
};

struct TextWeights {
  std::shared_ptr<const GgufFile> file;  // keeps the map alive
  Weight token_embd;                     // [vocab, H], also the head
  Weight per_layer_token_embd;           // [text vocab or more, layers * P]; read from the file, a row a token
  Weight per_layer_model_proj;           // [layers * P, H]
  FloatVector per_layer_proj_norm;       // [P]
  Weight altup_proj;                     // [3 * H, H], three matrices
  Weight altup_unembd_proj;              // [3 * H, H]
  FloatVector output_norm;               // [H]
  std::vector<LayerWeights> layers;

  Arena arena;  // panels and columns

  // Bytes of weights that are in memory after Pack, which a decoded token reads: rearranged or in the map. The
  // per-layer embeddings are not among them, nor what Config::loaded leaves out.
  uint64_t ResidentBytes(const hearth_kernels& kernels, const Config& config) const;
  // Hears how many bytes of the file are rearranged, of how many, a few megabytes at a time.
  using Progress = std::function<void(uint64_t done, uint64_t total)>;
  // Rearranges matrices for `kernels`, as far as Config::loaded has them, straight from the map, whose pages are given
  // back as it goes.
  Status Pack(const hearth_kernels& kernels, const Config& config, ThreadPool& pool, const Progress& progress);

  static StatusOr<TextWeights> Load(std::shared_ptr<const GgufFile> file, const Config& config);
};

}  // namespace hearth

#endif  // HEARTH_MODEL_WEIGHTS_H_
