#include <algorithm>
#include <thread>
#include <utility>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "addon/engine_impl.h"
#include "addon/kernels/dispatch.h"
#include "addon/model/slice.h"
#include "addon/text/grammar.h"

namespace hearth {
namespace {

constexpr int kMaxThreads = 256;
constexpr int kMaxSessions = 64;
constexpr int64_t kDefaultContext = 4096;
// Node, the vocabulary and its trie, threads, scratch: what is there besides weights, keys and values, and the
// workspace. Measured: 91 MB with E2B.
constexpr uint64_t kProcessBytes = 100'000'000;

// FNV-1a over the names, shapes and first bytes of the tensors: enough to tell one model file from another.
uint64_t Fingerprint(const GgufFile& file) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&](const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3;
  };
  for (const GgufTensor& tensor : file.tensors()) {
    add(tensor.name.data(), tensor.name.size());
    add(&tensor.type, sizeof tensor.type);
    add(tensor.dims.data(), sizeof tensor.dims);
    add(tensor.data, std::min<size_t>(tensor.bytes, 64));
  }
  return hash;
}

uint64_t CountParameters(const GgufFile& file) {
  uint64_t count = 0;
  for (const GgufTensor& tensor : file.tensors()) count += static_cast<uint64_t>(tensor.elements());
  return count;
}

SpecialTokens FindSpecialTokens(const Tokenizer& tokenizer) {
  SpecialTokens s;
  s.bos = tokenizer.bos();
  s.eos = tokenizer.eos();
  s.start_of_turn = tokenizer.Find("<start_of_turn>");
  s.end_of_turn = tokenizer.Find("<end_of_turn>");
  s.start_of_image = tokenizer.Find("<start_of_image>");
  s.image_soft_token = tokenizer.Find("<image_soft_token>");
  s.end_of_image = tokenizer.Find("<end_of_image>");
  s.start_of_audio = tokenizer.Find("<start_of_audio>");
  s.audio_soft_token = tokenizer.Find("<audio_soft_token>");
  s.end_of_audio = tokenizer.Find("<end_of_audio>");
  return s;
}

StatusOr<uint32_t> KvType(const EngineOptions& options) {
  if (options.kv_type.empty()) return options.exact ? HEARTH_F32 : HEARTH_F16;
  if (options.kv_type == "f16") return HEARTH_F16;
  if (options.kv_type == "q8_0") return HEARTH_Q8_0;
  if (options.kv_type == "f32") return HEARTH_F32;
  return Error(Code::OPTION_INVALID, "kvType is \"%s\"; f16, q8_0 or f32", options.kv_type.substr(0, 64).c_str());
}

std::vector<SliceInfo> DescribeSlices(const Config& config) {
  std::vector<SliceInfo> infos;
  std::vector<Slice> slices;
  for (const std::string& name : NamedSlices(config)) {
    StatusOr<Slice> slice = Slice::Named(config, name);
    if (!slice.ok()) continue;  // a width that cannot be halved
    const auto same = std::find_if(slices.begin(), slices.end(),
                                   [&](const Slice& other) { return slice.value().SameKv(other, config); });
    const SliceCost cost = CostOf(config, *slice);
    infos.push_back(
        {name, cost.decode, cost.prefill, static_cast<int>(same - slices.begin()), IsPublished(config, name)});
    slices.push_back(std::move(*slice));
  }
  return infos;
}

// What a model takes, whatever is loaded of it and for how many sessions.
uint64_t MemoryBytes(const ModelInfo& info, const EngineOptions& options, uint64_t weights, uint64_t workspace) {
  const int64_t buffers = (TextDecoder::kMaxChunk * info.hidden + info.vocab) * static_cast<int64_t>(sizeof(float));
  return weights + workspace + info.multimodal_bytes + options.prefix_cache_bytes + kProcessBytes +
         (info.kv_bytes + static_cast<uint64_t>(buffers)) * static_cast<uint64_t>(options.sessions);
}

// What the limit refuses, and what would help.
Status TooLarge(const ModelInfo& info, const EngineOptions& options, const TextDecoder& decoder,
                const hearth_kernels& kernels) {
  const auto megabytes = [](uint64_t bytes) { return static_cast<unsigned long long>((bytes + 999999) / 1000000); };
  std::string help;
  const uint64_t kv_bytes = info.kv_bytes * static_cast<uint64_t>(options.sessions);
  const uint64_t without_kv = info.memory_bytes - kv_bytes;
  if (without_kv < options.memory_limit) {
    const int64_t fits = static_cast<int64_t>(static_cast<double>(options.memory_limit - without_kv) /
                                              static_cast<double>(kv_bytes) * static_cast<double>(info.context_length));
    help += "; a contextLength of about " + std::to_string(fits / 64 * 64) + " would fit";
  }
  // The most that fits: of the slices the family was trained at, else of the others.
  const SliceInfo* best = nullptr;
  uint64_t best_bytes = 0;
  for (const SliceInfo& slice : info.slices) {
    Config config = decoder.config();
    if (!LoadOnly(config, slice.name).ok()) continue;
    const uint64_t bytes = MemoryBytes(info, options, decoder.weights().ResidentBytes(kernels, config),
                                       TextDecoder::Workspace::Bytes(config));
    if (bytes > options.memory_limit) continue;
    const auto rank = [](const SliceInfo& s) { return std::pair(s.published, s.decode_macs); };
    if (best == nullptr || rank(slice) > rank(*best)) best = &slice, best_bytes = bytes;
  }
  if (best != nullptr) {
    help += "; slice " + best->name + " would fit, loaded alone (loadSlice): " + std::to_string(megabytes(best_bytes)) +
            " MB";
  }
  return Error(
      Code::MODEL_TOO_LARGE,
      "the model needs %llu MB (weights %llu, encoders %llu, keys and values of %d sessions of %lld positions %llu, "
      "prefix cache %llu), the limit is %llu MB%s",
      megabytes(info.memory_bytes), megabytes(info.weight_bytes), megabytes(info.multimodal_bytes), options.sessions,
      static_cast<long long>(info.context_length), megabytes(kv_bytes), megabytes(options.prefix_cache_bytes),
      megabytes(options.memory_limit), help.c_str());
}

// What loading has allocated and given back stays with the allocator otherwise.
void TrimHeap() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

StatusOr<std::shared_ptr<Engine>> Engine::Open(const EngineOptions& options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    return Error(Code::OPTION_INVALID, "threads is %d; 1 to %d, or 0 for one each core", options.threads, kMaxThreads);
  }
  if (options.sessions < 1 || options.sessions > kMaxSessions)
    return Error(Code::OPTION_INVALID, "sessions is %d; 1 to %d", options.sessions, kMaxSessions);
  const hearth_kernels* kernels = ChooseKernels(options.isa.c_str());
  if (kernels == nullptr) {
    std::string available;
    for (const hearth_kernels* const* k = AvailableKernels(); *k != nullptr; ++k)
      available += (available.empty() ? "" : ", ") + std::string((*k)->isa);
    return Error(Code::OPTION_INVALID, "isa is \"%s\"; this machine runs %s", options.isa.substr(0, 64).c_str(),
                 available.c_str());
  }
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  auto impl = std::make_unique<Impl>(*kernels, options.threads > 0 ? options.threads : std::min(cores, kMaxThreads),
                                     options.prefix_cache_bytes);
  HEARTH_RETURN_IF_ERROR(impl->Load(options));
  return std::shared_ptr<Engine>(new Engine(std::move(impl)));
}

Status Engine::Impl::Load(const EngineOptions& options) {
  HEARTH_ASSIGN_OR_RETURN(kv_type, KvType(options));
  HEARTH_ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> file, GgufFile::Open(options.model_path));
  HEARTH_ASSIGN_OR_RETURN(Tokenizer loaded, Tokenizer::Load(*file));
  tokenizer = std::make_unique<Tokenizer>(std::move(loaded));
  HEARTH_ASSIGN_OR_RETURN(decoder, TextDecoder::Load(file, options.load_slice));
  const Config& config = decoder->config();
  if (tokenizer->size() > config.vocab) {
    return Error(Code::MODEL_MISMATCH, "the vocabulary has %lld pieces, the embedding %lld rows",
                 static_cast<long long>(tokenizer->size()), static_cast<long long>(config.vocab));
  }
  info.special = FindSpecialTokens(*tokenizer);
  uint64_t parameters = CountParameters(*file);
  if (!options.multimodal_path.empty()) {
    HEARTH_ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> multimodal, GgufFile::Open(options.multimodal_path));
    parameters += CountParameters(*multimodal);
    info.multimodal_bytes = multimodal->file_bytes();
    HEARTH_ASSIGN_OR_RETURN(info.image_size, multimodal->IntOr("hearth.image_size", 768, 32, 4096));
    if (multimodal->Find("v.conv_stem.conv.weight") != nullptr) {
      HEARTH_ASSIGN_OR_RETURN(vision, VisionEncoder::Load(multimodal, config.hidden));
      info.image_soft_tokens = VisionEncoder::kSoftTokens;
    }
    if (multimodal->Find("a.input_projection.weight") != nullptr) {
      HEARTH_ASSIGN_OR_RETURN(audio, AudioEncoder::Load(multimodal, config.hidden));
      info.audio_soft_tokens = AudioEncoder::kSoftTokens;
      if (!options.exact)
        info.multimodal_bytes = info.multimodal_bytes - audio->StoredBytes() + audio->PackedBytes(kernels);
    }
    const int64_t embedded = config.text_vocab + (vision ? vision->embedder().vocab_size() : 0) +
                             (audio ? audio->embedder().vocab_size() : 0);
    if (vision && audio && embedded != config.vocab) {
      return Error(Code::MODEL_MISMATCH, "text, vision and audio ids are %lld together, the embedding has %lld rows",
                   static_cast<long long>(embedded), static_cast<long long>(config.vocab));
    }
  }
  if (vision &&
      (info.special.start_of_image < 0 || info.special.image_soft_token < 0 || info.special.end_of_image < 0)) {
    return Error(Code::MODEL_MISMATCH,
                 "the model has a vision encoder, but no pieces <start_of_image>, <image_soft_token>, <end_of_image>");
  }
  if (audio &&
      (info.special.start_of_audio < 0 || info.special.audio_soft_token < 0 || info.special.end_of_audio < 0)) {
    return Error(Code::MODEL_MISMATCH,
                 "the model has an audio encoder, but no pieces <start_of_audio>, <audio_soft_token>, <end_of_audio>");
  }

  const int64_t limit = config.context_length;
  if (options.context_length < 0 || options.context_length > limit) {
    return Error(Code::OPTION_INVALID, "contextLength is %lld; the model was trained for %lld positions",
                 static_cast<long long>(options.context_length), static_cast<long long>(limit));
  }
  info.context_length = options.context_length > 0 ? options.context_length : std::min(limit, kDefaultContext);
  if (kv_type == HEARTH_Q8_0 && config.head_dim % 32 != 0) {
    return Error(Code::OPTION_INVALID, "kvType q8_0 needs heads of a multiple of 32 values; this model's have %lld",
                 static_cast<long long>(config.head_dim));
  }
  info.name = config.name;
  info.parameters = parameters;
  info.layers = config.layers;
  info.hidden = config.hidden;
  info.vocab = config.vocab;
  info.vision = vision != nullptr;
  info.audio = audio != nullptr;
  info.slices = DescribeSlices(config);
  info.loaded_slice = config.loaded_slice;
  info.ffn_widths = config.ffn_width;
  info.isa = kernels.isa;
  info.threads = pool.size();
  info.kv_type = kv_type == HEARTH_F16 ? "f16" : kv_type == HEARTH_Q8_0 ? "q8_0" : "f32";
  info.kv_bytes = KvCache::BytesFor(config, kv_type, info.context_length);
  info.kv_bytes_f16 = KvCache::BytesFor(config, HEARTH_F16, info.context_length);
  if (config.head_dim % 32 == 0) info.kv_bytes_q8_0 = KvCache::BytesFor(config, HEARTH_Q8_0, info.context_length);
  HEARTH_ASSIGN_OR_RETURN(info.prompts, file->StringOr("hearth.prompts", ""));
  info.weight_bytes = decoder->weights().ResidentBytes(kernels, config);
  info.memory_bytes = MemoryBytes(info, options, info.weight_bytes, TextDecoder::Workspace::Bytes(config));
  if (options.memory_limit > 0 && info.memory_bytes > options.memory_limit)
    return TooLarge(info, options, *decoder, kernels);
  fingerprint = Fingerprint(*file) * 31 + kv_type * 2 + options.exact;
  const auto report = [&](double fraction) {
    if (options.on_progress) options.on_progress(fraction);
  };
  report(0);
  if (audio) HEARTH_RETURN_IF_ERROR(audio->Prepare(exec, options.exact));
  if (!options.exact) {
    if (vision) HEARTH_RETURN_IF_ERROR(vision->Pack(kernels, pool));
    HEARTH_RETURN_IF_ERROR(decoder->Pack(kernels, pool, [&](uint64_t done, uint64_t total) {
      report(static_cast<double>(done) / static_cast<double>(total));
    }));
  }
  HEARTH_RETURN_IF_ERROR(workspace.Allocate(config));
  file->DropHeader();
  TrimHeap();
  report(1);
  return Status();
}

Engine::Impl::IdKind Engine::Impl::KindOf(int32_t id) const {
  if (id < 0) return IdKind::kInvalid;
  int64_t index = id;
  if (index < decoder->config().text_vocab) return IdKind::kText;
  index -= decoder->config().text_vocab;
  if (vision) {
    if (index < vision->embedder().vocab_size()) return IdKind::kImage;
    index -= vision->embedder().vocab_size();
  }
  if (audio && index < audio->embedder().vocab_size()) return IdKind::kAudio;
  return IdKind::kInvalid;
}

Status Engine::Impl::EmbedId(int32_t id, float* out) {
  const int64_t text_vocab = decoder->config().text_vocab;
  switch (KindOf(id)) {
    case IdKind::kText:
      decoder->EmbedToken(kernels, id, out);
      return Status();
    case IdKind::kImage:
      return vision->embedder().EmbedHard(exec, id - text_vocab, out);
    case IdKind::kAudio:
      return audio->embedder().EmbedHard(exec, id - text_vocab - (vision ? vision->embedder().vocab_size() : 0), out);
    case IdKind::kInvalid:
      break;
  }
  return Error(Code::TOKEN_INVALID, "token %d; the model embeds ids below %lld", id,
               static_cast<long long>(decoder->config().vocab));
}

const ModelInfo& Engine::info() const { return impl_->info; }

StatusOr<std::vector<int32_t>> Engine::Tokenize(std::string_view text, bool parse_special) const {
  return impl_->tokenizer->Encode(text, parse_special);
}

StatusOr<std::string> Engine::Detokenize(std::span<const int32_t> ids) const { return impl_->tokenizer->Decode(ids); }

StatusOr<SoftTokens> Engine::EncodeImage(const uint8_t* rgb, int64_t width, int64_t height, int64_t size) const {
  if (!impl_->vision) return Error(Code::MODEL_UNSUPPORTED, "the model has no vision encoder: it takes no pictures");
  if (size == 0) size = impl_->info.image_size;
  if (size != 256 && size != 512 && size != 768) {
    return Error(Code::OPTION_INVALID, "imageSize is %lld; 256, 512 or 768", static_cast<long long>(size));
  }
  // A picture without pixels is for the encoder to refuse.
  const size_t bytes = rgb == nullptr || width < 1 || height < 1 ? 0 : static_cast<size_t>(width * height * 3);
  const Digest pixels = impl_->hash.Of(ContentKind::kPixels, rgb, bytes);
  const Digest key =
      impl_->hash.Next(impl_->hash.Next(pixels, static_cast<uint64_t>(width), {}), static_cast<uint64_t>(size), {});
  SoftTokens tokens;
  tokens.count = impl_->info.image_soft_tokens;
  const std::lock_guard<std::mutex> turn(impl_->compute);
  if (const auto known = impl_->media_cache.Find(key)) return *known;
  tokens.rows.resize(static_cast<size_t>(tokens.count * impl_->info.hidden));
  HEARTH_RETURN_IF_ERROR(impl_->vision->Encode(impl_->exec, RgbView{rgb, width, height}, size,
                                               MatF(tokens.rows.data(), tokens.count, impl_->info.hidden)));
  impl_->media_cache.Insert(key, tokens);
  return tokens;
}

StatusOr<SoftTokens> Engine::EncodeAudio(std::span<const float> samples) const {
  if (!impl_->audio) return Error(Code::MODEL_UNSUPPORTED, "the model has no audio encoder: it takes no sound");
  const Digest key = impl_->AudioKey(samples);
  SoftTokens tokens;
  tokens.count = impl_->info.audio_soft_tokens;
  int64_t valid = 0;
  const std::lock_guard<std::mutex> turn(impl_->compute);
  if (const auto known = impl_->media_cache.Find(key)) return *known;
  tokens.rows.resize(static_cast<size_t>(tokens.count * impl_->info.hidden));
  HEARTH_RETURN_IF_ERROR(impl_->audio->Encode(impl_->exec, samples.data(), static_cast<int64_t>(samples.size()),
                                              MatF(tokens.rows.data(), tokens.count, impl_->info.hidden), &valid));
  impl_->media_cache.Insert(key, tokens);
  return tokens;
}

StatusOr<std::shared_ptr<const Grammar>> Engine::CompileGrammar(std::string_view json_schema) const {
  std::call_once(impl_->trie_made, [&] { impl_->trie = std::make_shared<TokenTrie>(*impl_->tokenizer); });
  return Grammar::Compile(json_schema, impl_->trie);
}

ReuseStats Engine::reuse() const {
  const PrefixCache::Stats prefixes = impl_->prefix_cache.stats();
  ReuseStats stats;
  stats.max_bytes = impl_->prefix_cache.max_bytes() + impl_->media_cache.max_bytes();
  stats.bytes = prefixes.bytes + impl_->media_cache.bytes();
  stats.entries = prefixes.entries;
  stats.evicted = prefixes.evicted;
  stats.resumes = impl_->resumes;
  stats.hits = impl_->resume_hits;
  stats.positions = impl_->reused_positions;
  stats.media_hits = impl_->media_cache.hits();
  return stats;
}

}  // namespace hearth
