// The runtime's whole boundary. Engine = a loaded model; Session = one timeline of tokens in it.
//
//   Engine::Open ── tokenise / encode pictures and sound ──> ids and soft tokens
//   LiveAudio: Feed(samples) ─> Tokens, while someone speaks
//   Session: Resume(ids, soft tokens) ─> Advance (a chunk at a time) ─> Sample ─> Advance(1) ─> Sample ...
//
// Resume makes the timeline a whole prompt and keeps what is computed of it already, here or in the engine's prefix
// cache; Append puts tokens at the end of what there is, and Rewind takes them off again.
//
// Sample puts the token it chose at the end of the timeline itself, so decoding is Advance(1) and Sample in turn, or
// Decode, which does both for several tokens at once; and whoever wants to stop simply stops. Everything that can be
// wrong with an input comes back as a Status.
//
// Threads: an Engine may be shared; what computes (Advance, Encode...) takes turns inside. A Session belongs to one
// caller at a time.
#ifndef HEARTH_RUNTIME_H_
#define HEARTH_RUNTIME_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "addon/base/status.h"
#include "addon/text/sampler.h"

namespace hearth {

class Grammar;
class LiveAudio;
class Session;

struct EngineOptions {
  std::string model_path;       // GGUF with the text model
  std::string multimodal_path;  // GGUF with the vision and audio encoders; empty for text only
  int threads = 0;              // 1..256; 0: one for each core
  std::string isa;              // a kernel file's name, such as "scalar"; empty: the best this CPU has
  int64_t context_length = 0;   // most positions of a session; 0: 4096 or the model's own, if that is less
  std::string kv_type;          // what keys and values are kept in: "f16", "q8_0" or "f32"; empty: f16, or f32 if exact
  // The largest slice there is to be, a name from ModelInfo::slices; empty: the whole file. Weights that it does not
  // need are neither read nor kept, and slices that need them are SLICE_INVALID.
  std::string load_slice;
  // Everything in float32, straight from the stored weights: what quantised arithmetic is compared with.
  bool exact = false;
  // Most bytes of memory the model may take: the weights that are read for every token, the KV caches of `sessions`
  // sessions, the prefix cache and the buffers; rows that are looked up one a token (the per-layer embeddings) stay on
  // disk and do not count. 0: no limit. MODEL_TOO_LARGE says what would be needed, and which slice or context would
  // fit.
  uint64_t memory_limit = 0;
  int sessions = 1;  // 1..64: how many there may be at the same time, for `memory_limit`; no bound on NewSession
  // Most memory for what was computed before and may be needed again: keys and values (seven eighths of it), pictures
  // and sounds (one eighth). 0 keeps nothing beyond each session's own timeline.
  uint64_t prefix_cache_bytes = uint64_t{256} << 20;
  // Hears from Open, on its thread, how much of the weights is in memory: from 0 to 1, every few megabytes.
  std::function<void(double fraction)> on_progress;
};

// Ids that structure a prompt; -1 where the model has none.
struct SpecialTokens {
  int32_t bos = -1, eos = -1, start_of_turn = -1, end_of_turn = -1;
  int32_t start_of_image = -1, image_soft_token = -1, end_of_image = -1;
  int32_t start_of_audio = -1, audio_soft_token = -1, end_of_audio = -1;
};

// A slice by its name, and what is to know before one is chosen.
struct SliceInfo {
  std::string name;
  // Multiply-adds a token takes when it is decoded, and as part of a prompt: for comparing slices of one model.
  uint64_t decode_macs = 0, prefill_macs = 0;
  // Slices of one group leave the same keys and values behind: within it a session changes its slice at any token. The
  // index, in ModelInfo::slices, of the group's first.
  int kv_group = 0;
  bool published = false;  // the family was trained at it
};

struct ModelInfo {
  std::string name;
  uint64_t parameters = 0;
  int layers = 0;
  int64_t hidden = 0, vocab = 0, context_length = 0;
  bool vision = false, audio = false;
  int64_t image_soft_tokens = 0, audio_soft_tokens = 0;
  int64_t image_size = 0;           // the side the model was trained with
  std::vector<SliceInfo> slices;    // what Session::SetSlice takes by name
  std::string loaded_slice;         // the largest of them, which a session begins with: "full" or what was asked for
  std::vector<int64_t> ffn_widths;  // per layer, in the file
  std::string isa;
  int threads = 0;
  std::string kv_type;
  uint64_t weight_bytes = 0;      // weights that stay in memory; the per-layer embeddings stay on disk
  uint64_t multimodal_bytes = 0;  // the encoders, as they lie in memory
  uint64_t kv_bytes = 0;          // keys and values of a session whose context is full
  uint64_t kv_bytes_f16 = 0;      // the same, were they kept so
  uint64_t kv_bytes_q8_0 = 0;     // the same; 0 where heads cannot be
  uint64_t memory_bytes = 0;      // all of it, with full sessions and prefix cache, and the buffers
  std::string prompts;            // JSON, as the model file has it; may be empty
  SpecialTokens special;
};

// What an encoder made of a picture or a sound: `count` rows of ModelInfo::hidden values, ready for Session::Append.
struct SoftTokens {
  int64_t count = 0;
  std::vector<float> rows;
};

// What of computing was saved since the engine was opened, and the memory that takes.
struct ReuseStats {
  uint64_t max_bytes = 0, bytes = 0;  // of the prefix cache, pictures and sounds included
  uint64_t entries = 0;               // timelines in it
  uint64_t evicted = 0;               // timelines that had to go
  uint64_t resumes = 0;               // calls of Session::Resume
  uint64_t hits = 0;                  // those of them that reused something worth mentioning (16 positions)
  uint64_t positions = 0;             // reused in all
  uint64_t media_hits = 0;            // pictures and sounds that needed no encoder
};

struct SliceOptions {
  std::string name;                 // a name from ModelInfo::slices; empty: the widths below
  std::vector<int64_t> ffn_widths;  // one a layer of the file
  std::vector<int> skipped_layers;
};

struct ResumeOptions {
  const SliceOptions* slice = nullptr;  // what the timeline runs on from now on; null: as before
  // Positions where what the prompt has in common with others may end: after the system prompt, after a picture, at its
  // end. Their keys and values are put into the prefix cache when they are computed. Those out of range count for
  // nothing; where the prompt leaves one that is cached already is a checkpoint by itself.
  std::span<const int64_t> checkpoints = {};
};

struct Sampled {
  int32_t token = -1;
  bool end = false;  // an end-of-turn or end-of-stream token: nothing was appended
  std::string text;  // what can be shown now: whole UTF-8 characters only
};

struct DraftOptions {
  int max_tokens = 8;  // drafted at a time, 0 to Session::kMaxDraft; 0: none
  // What computing one token more costs, in steps of one token; 0: as measured. Decides how sure a draft has to be.
  double row_cost = 0;
};

// What one call of Session::Decode gave: at least one token, the last maybe an end.
struct Decoded {
  std::vector<Sampled> sampled;
  int64_t drafted = 0;   // tokens computed on the chance that they would be sampled
  int64_t accepted = 0;  // of these, those that were
};

class Engine {
 public:
  // Maps and checks the files, and brings the weights into memory.
  static StatusOr<std::shared_ptr<Engine>> Open(const EngineOptions& options);
  ~Engine();

  const ModelInfo& info() const;

  // `parse_special`: control pieces in the text become control tokens; never for text that came from outside.
  StatusOr<std::vector<int32_t>> Tokenize(std::string_view text, bool parse_special) const;
  // Control tokens are left out.
  StatusOr<std::string> Detokenize(std::span<const int32_t> ids) const;

  // rgb: height x width x 3 bytes. size: 256, 512 or 768, or 0 for the model's own.
  StatusOr<SoftTokens> EncodeImage(const uint8_t* rgb, int64_t width, int64_t height, int64_t size) const;
  // Mono at 16 kHz, at most 30 s. Always ModelInfo::audio_soft_tokens rows: short clips are padded as in training.
  StatusOr<SoftTokens> EncodeAudio(std::span<const float> samples) const;
  // A clip that is still being spoken.
  StatusOr<std::unique_ptr<LiveAudio>> Listen() const;

  // A JSON Schema the reply must fit; reusable and shareable.
  StatusOr<std::shared_ptr<const Grammar>> CompileGrammar(std::string_view json_schema) const;

  StatusOr<std::unique_ptr<Session>> NewSession();

  ReuseStats reuse() const;

 private:
  friend class LiveAudio;
  friend class Session;
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// A clip on its way through the audio encoder while it is being spoken. For one caller at a time; its memory does not
// grow with the clip but for the samples themselves, 30 s at most.
class LiveAudio {
 public:
  ~LiveAudio();

  // The next samples, any number, and what tokens they complete. AUDIO_INVALID as EncodeAudio; nothing is taken then.
  Status Feed(std::span<const float> samples);
  // The first tokens of the clip, as far as they are there: they stay, whatever is said next.
  SoftTokens Tokens() const;
  // What EncodeAudio makes of all samples so far, bit for bit; and EncodeAudio finds it made, as long as the engine has
  // room for it. The clip may go on nevertheless.
  StatusOr<SoftTokens> Clip() const;

 private:
  friend class Engine;
  struct Impl;
  explicit LiveAudio(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Session {
 public:
  ~Session();

  // The slice later tokens run on. SLICE_INVALID when it would change keys and values that are already in the cache
  // (the FFN widths of the layers that write them differ): rewind to 0 first.
  Status SetSlice(const SliceOptions& slice);
  const std::string& slice_name() const;

  // Puts tokens at the end of the timeline; nothing is computed yet. Every image or audio soft-token id takes the next
  // row of `soft`. PROMPT_INVALID when the counts differ, TOKEN_INVALID for an id out of range, CONTEXT_FULL.
  Status Append(std::span<const int32_t> ids, std::span<const SoftTokens* const> soft);

  // Makes `ids` and `soft`, as in Append, the whole timeline and begins a reply: what of it is computed already, in
  // this session or by any other of the engine, stays or is brought in; the rest is pending, the last token always.
  // Sampler, text and grammar start anew. Returns how many positions need no computing. A slice that changes keys and
  // values is no error here: nothing computed with another one is used. On an error (those of Append and SetSlice,
  // PROMPT_INVALID when `ids` is empty) nothing has changed.
  StatusOr<int64_t> Resume(std::span<const int32_t> ids, std::span<const SoftTokens* const> soft,
                           const ResumeOptions& options = {});
  // Positions of the timeline since Resume that needed no computing. Grows when another session computes what is
  // pending here.
  int64_t reused() const;
  // Puts what is computed into the prefix cache, for timelines that go on from here: at the end of a reply.
  void Checkpoint();

  // Computes up to `max_tokens` of the pending tokens (in chunks of at most 256) and returns how many are left. When
  // none is left the logits of the last one are there.
  StatusOr<int64_t> Advance(int64_t max_tokens);

  // Chooses the next token from the logits and appends it. A seed's random sequence begins anew after Rewind.
  StatusOr<Sampled> Sample(const SamplingOptions& options);
  // Exactly what Advance and Sample in turn would give, 1 to `max_tokens` tokens of it, and it leaves the session as
  // they do. Without pending tokens it is Sample. Otherwise it computes them, drafts what may follow (from the
  // timeline, earlier replies and the grammar) and computes that in the same go; see session_decode.cc. An error that
  // comes after some tokens is left for the next call. OPTION_INVALID, and what Advance and Sample return.
  static constexpr int kMaxDraft = 8;
  StatusOr<Decoded> Decode(const SamplingOptions& sampling, int64_t max_tokens, const DraftOptions& draft = {});
  // Text held back because it ends inside a UTF-8 character, made printable. Ends the reply's text.
  std::string FlushText();

  // Later samples must fit; null ends it. Starts at the grammar's beginning.
  Status SetGrammar(std::shared_ptr<const Grammar> grammar);

  // The logits of the last computed token, [vocab]; empty before the first.
  std::span<const float> logits() const;

  // Tokens in the timeline that are computed, and that are not yet.
  int64_t position() const;
  int64_t pending() const;

  // Forgets everything from `position` on, computed or pending. No logits until the next Advance. Layers with a sliding
  // window only keep the last positions: OPTION_INVALID below LowestRewind, but for 0.
  Status Rewind(int64_t position);
  int64_t LowestRewind() const;

  // The timeline as bytes, for this model file only; Restore checks and replaces the session's own.
  // Pending tokens are not part of it.
  std::vector<uint8_t> Snapshot() const;
  Status Restore(std::span<const uint8_t> snapshot);

  // Bytes of keys and values held.
  uint64_t kv_bytes() const;

 private:
  friend class Engine;
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth

#endif  // HEARTH_RUNTIME_H_
