// The Gemma 3n text decoder: token rows in, K and V into the cache, logits out.
//
//   embedding row x sqrt(H) ─┬─> stream 0 ──┐          per-layer embeddings (PLE): table row + projection of the
//   embedding
//                            └─> altup_proj ─> streams 1..3
//   for every layer:  [4 streams] ─ AltUp predict ─> a = prediction 0
//       a ─ RMSNorm ─┬─ LAuReL: n + RMSNorm(R(L(n))) ───────┐
//                    └─ attention ─ RMSNorm ─ + a ──────────(+) x 1/sqrt(2) = y
//       y ─ RMSNorm ─ gate (gaussian top-k) ─ GELU x up ─ down ─ RMSNorm ─ + y = o
//       AltUp correct: every stream += (o - a) x coefficient;  then PLE: streams 1..3 += RMSNorm(proj(gate(h0) x PLE))
//   streams 1..3 ─ altup_unembd_proj ─ rescale ─ mean with stream 0 ─ RMSNorm ─ tied head ─ soft-cap
//
// The prefill skip: only layers below Config::kv_layers write K and V. For a token whose logits nobody wants, the last
// of those stops once its K and V exist and the layers above it do not run at all. Nothing about it is approximate.
//
// Source: Hugging Face transformers 5.18, models/gemma3n/modeling_gemma3n.py (Gemma3nTextModel,
// Gemma3nTextDecoderLayer).
#ifndef HEARTH_MODEL_TEXT_DECODER_H_
#define HEARTH_MODEL_TEXT_DECODER_H_

#include <functional>
#include <memory>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/model/config.h"
#include "addon/model/head.h"
#include "addon/model/kv_cache.h"
#include "addon/model/slice.h"
#include "addon/model/weights.h"
#include "addon/ops/exec.h"

namespace hearth {

// Const after construction; callers bring their own cache and workspace.
class TextDecoder {
 public:
  // Buffers for a chunk of tokens, reused from call to call; one for each caller that computes at the same time.
  class Workspace;

  // Tokens Forward takes at once.
  static constexpr int64_t kMaxChunk = 256;

  // A run of tokens at consecutive positions.
  struct Chunk {
    // [tokens, H]: embedding rows as the layers want them (text rows from EmbedToken, soft tokens as encoded).
    ConstMatF embedding;
    // Row of the per-layer table for each token: the text id, 0 for anything that is not text.
    const int32_t* ple_ids;
    int64_t first_position;
    // How many of the last tokens the caller wants logits of.
    int64_t logits_wanted;
  };

  // Called after each layer with the state of stream 0, [tokens still computed, H]. For tests and traces.
  using Observer = std::function<void(int layer, ConstMatF stream0)>;

  // Checks the file; weights stay in its map. `load_slice`: the largest slice there is to be; empty for the whole file.
  static StatusOr<std::unique_ptr<TextDecoder>> Load(std::shared_ptr<const GgufFile> file,
                                                     std::string_view load_slice = {});

  // Rearranges the weights for `kernels` (TextWeights::Pack), which every later Forward must be run with. Without it
  // everything is computed in float32 from the weights as they are stored.
  Status Pack(const hearth_kernels& kernels, ThreadPool& pool, const TextWeights::Progress& progress = nullptr) {
    HEARTH_RETURN_IF_ERROR(weights_.Pack(kernels, config_, pool, progress));
    return head_.Prepare(kernels, weights_.token_embd);
  }
  const TextWeights& weights() const { return weights_; }

  const Config& config() const { return config_; }

  // out[H] = the embedding of a text id, scaled by sqrt(H).
  void EmbedToken(const hearth_kernels& kernels, int32_t id, float* out) const;

  // Runs a chunk: appends its K and V to `cache` (which must hold all earlier positions) and writes the logits of the
  // last `logits_wanted` tokens to `logits`, [logits_wanted, vocab]. At most kMaxChunk tokens. Where head().screens(),
  // these are estimates, and `head_rows` gets the rows from which head() makes logits of them.
  Status Forward(Exec& exec, const Slice& slice, const Chunk& chunk, KvCache& cache, Workspace& workspace, MatF logits,
                 Activations* head_rows, const Observer& observer = nullptr) const;

  const Head& head() const { return head_; }

 private:
  TextDecoder(Config config, TextWeights weights);

  struct LayerPass;

  Status PerLayerInputs(Exec& exec, const Chunk& chunk, Workspace& ws) const;
  Status StartStreams(Exec& exec, const Chunk& chunk, Workspace& ws) const;
  Status RunLayer(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const;
  Status StoreKeysAndValues(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const;
  Status SelfAttention(Exec& exec, const LayerPass& pass, KvCache& cache, Workspace& ws) const;
  Status AddBranches(Exec& exec, const LayerPass& pass, Workspace& ws) const;
  Status FeedForward(Exec& exec, const LayerPass& pass, Workspace& ws) const;
  Status DenseNeurons(Exec& exec, const LayerPass& pass, Workspace& ws) const;
  Status SparseNeurons(Exec& exec, const LayerPass& pass, Workspace& ws) const;
  Status SparseToken(Exec& exec, const LayerPass& pass, Workspace& ws) const;
  Status InjectPle(Exec& exec, const LayerPass& pass, Workspace& ws) const;
  Status Logits(Exec& exec, int64_t tokens, Workspace& ws, MatF logits, Activations* rows) const;

  Config config_;
  TextWeights weights_;
  Head head_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_TEXT_DECODER_H_
