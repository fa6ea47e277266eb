// What Engine and Session share: the loaded model and the one place where computing takes turns.
#ifndef HEARTH_ENGINE_IMPL_H_
#define HEARTH_ENGINE_IMPL_H_

#include <atomic>
#include <memory>
#include <mutex>

#include "addon/base/content_hash.h"
#include "addon/base/thread_pool.h"
#include "addon/gguf/gguf.h"
#include "addon/model/audio_encoder.h"
#include "addon/model/decoder_workspace.h"
#include "addon/model/text_decoder.h"
#include "addon/model/vision_encoder.h"
#include "addon/ops/exec.h"
#include "addon/prefix_cache.h"
#include "addon/runtime.h"
#include "addon/soft_token_cache.h"
#include "addon/text/token_trie.h"
#include "addon/text/tokenizer.h"

namespace hearth {

struct Engine::Impl {
  // One part in this many of the prefix cache's memory is for pictures and sounds.
  static constexpr uint64_t kMediaShare = 8;

  Impl(const hearth_kernels& kernels_in, int threads, uint64_t cache_bytes)
      : kernels(kernels_in),
        prefix_cache(cache_bytes - cache_bytes / kMediaShare),
        media_cache(cache_bytes / kMediaShare),
        pool(threads),
        exec(kernels_in, pool) {}

  Status Load(const EngineOptions& options);

  // What an id is, by the table that embeds it.
  enum class IdKind { kText, kImage, kAudio, kInvalid };
  IdKind KindOf(int32_t id) const;
  // What a clip is called in `media_cache`.
  Digest AudioKey(std::span<const float> samples) const {
    return hash.Of(ContentKind::kSamples, samples.data(), samples.size_bytes());
  }
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

  // What was computed before; each with a lock of its own.
  const ContentHash hash;
  PrefixCache prefix_cache;
  SoftTokenCache media_cache;
  std::atomic<uint64_t> resumes = 0, resume_hits = 0, reused_positions = 0;

  // Guards what follows; held for the time of one chunk or one picture.
  std::mutex compute;
  ThreadPool pool;
  Exec exec;
  TextDecoder::Workspace workspace;
};

}  // namespace hearth

#endif  // HEARTH_ENGINE_IMPL_H_
