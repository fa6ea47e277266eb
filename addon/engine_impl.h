// What Engine and Session share: the loaded model and the one place where computing takes turns.
#ifndef HEARTH_ENGINE_IMPL_H_
#define HEARTH_ENGINE_IMPL_H_

#include <memory>
#include <mutex>

#include "addon/base/thread_pool.h"
#include "addon/gguf/gguf.h"
#include "addon/model/audio_encoder.h"
#include "addon/model/decoder_workspace.h"
#include "addon/model/text_decoder.h"
#include "addon/model/vision_encoder.h"
#include "addon/ops/exec.h"
#include "addon/runtime.h"
#include "addon/text/token_trie.h"
#include "addon/text/tokenizer.h"

namespace hearth {

struct Engine::Impl {
  Impl(const hearth_kernels& kernels_in, int threads) : kernels(kernels_in), pool(threads), exec(kernels_in, pool) {}

  Status Load(const EngineOptions& options);

  // What an id is, by the table that embeds it.
  enum class IdKind { kText, kImage, kAudio, kInvalid };
  IdKind KindOf(int32_t id) const;
  // out[hidden] = the embedding of an id that is not replaced by a soft token.
  Status EmbedId(int32_t id, float* out);

  const hearth_kernels& kernels;
  ModelInfo info;
  uint64_t fingerprint = 0;  // of the model file and how it is computed with, for snapshots
  uint32_t kv_type = 0;      // hearth_block_type
  std::unique_ptr<TextDecoder> decoder;
  std::unique_ptr<VisionEncoder> vision;  // null when the model has none
  std::unique_ptr<AudioEncoder> audio;    // null when the model has none
  std::unique_ptr<Tokenizer> tokenizer;
  std::once_flag trie_made;
  std::shared_ptr<const TokenTrie> trie;  // made when the first grammar is compiled

  // Guards what follows; held for the time of one chunk or one picture.
  std::mutex compute;
  ThreadPool pool;
  Exec exec;
  TextDecoder::Workspace workspace;
};

}  // namespace hearth

#endif  // HEARTH_ENGINE_IMPL_H_
