// The hyper-parameters of a Gemma 3n text model, read from its GGUF keys and checked.
#ifndef HEARTH_MODEL_CONFIG_H_
#define HEARTH_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "addon/base/status.h"
#include "addon/gguf/gguf.h"

namespace hearth {

// Streams of the residual state that AltUp keeps (Gemma 3n has four, and the decoder is written for four).
constexpr int kStreams = 4;

struct Config {
  std::string name;
  int layers;
  int64_t hidden;
  std::vector<int64_t> ffn_width;  // per layer, in the file
  std::vector<int64_t> ffn_block;  // per layer: values in a block of the down projection; a slice cuts between blocks
  std::vector<float> sparsity_z;   // per layer: the gate's cut-off is mean + z * std; -inf where every neuron is used
  std::vector<bool> local;         // per layer: sliding-window attention
  int heads;
  int kv_heads;
  int64_t head_dim;
  int64_t ple_dim;             // per-layer embedding width
  int64_t window;              // positions a local layer sees, its own included
  int kv_layers;               // layers that write K and V; the later ones read those of the last of their kind
  std::vector<int> kv_source;  // per layer: whose K and V it reads
  float rope_base_local;
  float rope_base_global;
  float norm_eps;
  float logit_soft_cap;
  int64_t vocab;           // rows of the embedding: text, then vision, then audio ids
  int64_t text_vocab;      // ids below this are text; they alone have per-layer embeddings
  int64_t context_length;  // positions the model was trained for
  // What is in memory where only a slice was loaded (LoadOnly in slice.h): FFN neurons of every layer, 0 where the
  // layer is left out. Empty: the whole file.
  std::vector<int64_t> loaded_width;
  std::string loaded_slice = "full";

  int64_t q_dim() const { return heads * head_dim; }
  int64_t kv_dim() const { return kv_heads * head_dim; }
  int64_t loaded(int layer) const { return loaded_width.empty() ? ffn_width[layer] : loaded_width[layer]; }

  // Reads and checks the keys and the shapes they must agree with.
  static StatusOr<Config> Load(const GgufFile& file);
};

}  // namespace hearth

#endif  // HEARTH_MODEL_CONFIG_H_
