#include "addon/model/config.h"

#include <algorithm>
#include <limits>
#include <string_view>

namespace hearth {
namespace {

constexpr int kMaxLayers = 256;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxVocab = 1 << 22;

std::string Key(const char* name) { return std::string("gemma3n.") + name; }

// How many ids are text. The per-layer table tells when it has rows for those alone; llama.cpp pads it to the whole
// vocabulary, and then the first id of the vision part tells.
StatusOr<int64_t> TextVocab(const GgufFile& file, int64_t vocab, int64_t ple_rows) {
  if (ple_rows < vocab || file.Has("hearth.text_vocab")) return file.IntOr("hearth.text_vocab", ple_rows, 1, ple_rows);
  if (!file.Has("tokenizer.ggml.tokens")) return vocab;
  HEARTH_ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens, file.Strings("tokenizer.ggml.tokens"));
  const auto first = std::find(tokens.begin(), tokens.end(), "<end_of_image>");
  return first == tokens.end() || first == tokens.begin() ? vocab : std::min<int64_t>(vocab, first - tokens.begin());
}

Status Disagree(const char* what, int64_t expected, int64_t found) {
  return Error(Code::MODEL_MISMATCH, "%s: the keys say %lld, the tensors %lld", what, static_cast<long long>(expected),
               static_cast<long long>(found));
}

}  // namespace

StatusOr<Config> Config::Load(const GgufFile& file) {
  HEARTH_ASSIGN_OR_RETURN(const std::string architecture, file.StringOr("general.architecture", ""));
  if (architecture != "gemma3n") {
    return Error(Code::MODEL_UNSUPPORTED, "the architecture is \"%s\"; only \"gemma3n\" is run",
                 architecture.substr(0, 64).c_str());
  }
  Config c;
  HEARTH_ASSIGN_OR_RETURN(c.name, file.StringOr("general.name", "gemma-3n"));
  HEARTH_ASSIGN_OR_RETURN(const int64_t layers, file.Int(Key("block_count"), 1, kMaxLayers));
  c.layers = static_cast<int>(layers);
  HEARTH_ASSIGN_OR_RETURN(c.hidden, file.Int(Key("embedding_length"), 32, kMaxWidth));
  HEARTH_ASSIGN_OR_RETURN(const int64_t heads, file.Int(Key("attention.head_count"), 1, 1024));
  HEARTH_ASSIGN_OR_RETURN(const int64_t kv_heads, file.Int(Key("attention.head_count_kv"), 1, 1024));
  c.heads = static_cast<int>(heads);
  c.kv_heads = static_cast<int>(kv_heads);
  if (heads % kv_heads != 0) {
    return Error(Code::MODEL_MISMATCH, "%lld query heads are not a multiple of %lld key/value heads",
                 static_cast<long long>(heads), static_cast<long long>(kv_heads));
  }
  HEARTH_ASSIGN_OR_RETURN(c.head_dim, file.Int(Key("attention.key_length"), 2, 8192));
  if (c.head_dim % 2 != 0)
    return Error(Code::MODEL_MISMATCH, "the head size %lld is odd", static_cast<long long>(c.head_dim));
  HEARTH_ASSIGN_OR_RETURN(const int64_t value_length, file.IntOr(Key("attention.value_length"), c.head_dim, 1, 8192));
  if (value_length != c.head_dim) return Disagree("value heads as wide as key heads", c.head_dim, value_length);
  HEARTH_ASSIGN_OR_RETURN(c.ple_dim, file.Int(Key("embedding_length_per_layer_input"), 1, kMaxWidth));
  HEARTH_ASSIGN_OR_RETURN(c.window, file.Int(Key("attention.sliding_window"), 1, 1 << 24));
  HEARTH_ASSIGN_OR_RETURN(const int64_t shared, file.Int(Key("attention.shared_kv_layers"), 0, layers - 1));
  c.kv_layers = static_cast<int>(layers - shared);
  HEARTH_ASSIGN_OR_RETURN(const int64_t streams, file.IntOr(Key("altup.num_inputs"), kStreams, 1, 64));
  HEARTH_ASSIGN_OR_RETURN(const int64_t active, file.IntOr(Key("altup.active_idx"), 0, 0, 63));
  if (streams != kStreams || active != 0) {
    return Error(Code::MODEL_UNSUPPORTED, "AltUp with %lld streams, %lld active; 4 with the first active are run",
                 static_cast<long long>(streams), static_cast<long long>(active));
  }
  HEARTH_ASSIGN_OR_RETURN(const double eps, file.FloatOr(Key("attention.layer_norm_rms_epsilon"), 1e-6));
  HEARTH_ASSIGN_OR_RETURN(const double base_global, file.FloatOr(Key("rope.freq_base"), 1e6));
  HEARTH_ASSIGN_OR_RETURN(const double base_local, file.FloatOr(Key("rope.freq_base_swa"), 1e4));
  HEARTH_ASSIGN_OR_RETURN(const double soft_cap, file.FloatOr(Key("final_logit_softcapping"), 30.0));
  if (!(eps > 0 && eps < 1) || !(base_global >= 1) || !(base_local >= 1) || !(soft_cap > 0)) {
    return Error(Code::MODEL_MISMATCH, "norm epsilon %g, RoPE bases %g and %g, soft-cap %g: not all make sense", eps,
                 base_local, base_global, soft_cap);
  }
  c.norm_eps = static_cast<float>(eps);
  c.rope_base_global = static_cast<float>(base_global);
  c.rope_base_local = static_cast<float>(base_local);
  c.logit_soft_cap = static_cast<float>(soft_cap);
  HEARTH_ASSIGN_OR_RETURN(c.context_length, file.IntOr(Key("context_length"), 32768, 1, 1 << 24));

  const std::string pattern_key = Key("attention.sliding_window_pattern");
  if (file.Has(pattern_key)) {
    HEARTH_ASSIGN_OR_RETURN(const std::vector<int64_t> pattern, file.Ints(pattern_key));
    if (static_cast<int64_t>(pattern.size()) != layers)
      return Disagree("entries of sliding_window_pattern", layers, static_cast<int64_t>(pattern.size()));
    for (int64_t is_local : pattern) c.local.push_back(is_local != 0);
  } else {
    for (int i = 0; i < c.layers; ++i) c.local.push_back((i + 1) % 5 != 0);
  }

  c.sparsity_z.assign(layers, -std::numeric_limits<float>::infinity());
  const std::string sparsity_key = Key("activation_sparsity_scale");
  if (file.Has(sparsity_key)) {
    HEARTH_ASSIGN_OR_RETURN(const std::vector<double> z, file.Floats(sparsity_key));
    if (static_cast<int64_t>(z.size()) != layers)
      return Disagree("entries of activation_sparsity_scale", layers, static_cast<int64_t>(z.size()));
    for (int i = 0; i < c.layers; ++i) c.sparsity_z[i] = static_cast<float>(z[i]);
  }

  // HF Gemma3nTextAttention: a sharing layer reads the last writing layer of its own kind.
  for (int i = 0; i < c.layers; ++i) {
    int source = i;
    if (i >= c.kv_layers) {
      source = c.kv_layers - 1;
      while (source >= 0 && c.local[source] != c.local[i]) --source;
      if (source < 0)
        return Error(Code::MODEL_MISMATCH, "layer %d shares a KV cache that no layer before %d writes", i, c.kv_layers);
    }
    c.kv_source.push_back(source);
  }

  for (int i = 0; i < c.layers; ++i) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    HEARTH_ASSIGN_OR_RETURN(const GgufTensor* gate, file.Require(blk + "ffn_gate.weight"));
    HEARTH_ASSIGN_OR_RETURN(const GgufTensor* down, file.Require(blk + "ffn_down.weight"));
    if (gate->rows() > kMaxWidth) return Disagree("FFN width at most", kMaxWidth, gate->rows());
    c.ffn_width.push_back(gate->rows());
    c.ffn_block.push_back(BlockShapeOf(down->type).values);
  }
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* embedding, file.Require("token_embd.weight"));
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* ple, file.Require("per_layer_token_embd.weight"));
  c.vocab = embedding->rows();
  HEARTH_ASSIGN_OR_RETURN(c.text_vocab, TextVocab(file, c.vocab, ple->rows()));
  if (c.vocab > kMaxVocab || c.text_vocab > c.vocab)
    return Disagree("text ids at most as many as all ids", c.vocab, c.text_vocab);
  return c;
}

}  // namespace hearth
