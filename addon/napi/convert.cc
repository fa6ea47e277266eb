#include "addon/napi/convert.h"

#include <cstring>

namespace hearth::napi {
namespace {

template <typename T>
Napi::Array ToArray(Napi::Env env, const std::vector<T>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    if constexpr (std::is_arithmetic_v<T>) {
      array.Set(static_cast<uint32_t>(i), Napi::Number::New(env, static_cast<double>(values[i])));
    } else {
      array.Set(static_cast<uint32_t>(i), Napi::String::New(env, values[i]));
    }
  }
  return array;
}

template <typename T>
std::vector<T> NumbersFrom(const Napi::Value& value) {
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<T> numbers;
  for (uint32_t i = 0; i < array.Length(); ++i)
    numbers.push_back(static_cast<T>(array.Get(i).As<Napi::Number>().Int64Value()));
  return numbers;
}

std::string StringFrom(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

double NumberFrom(const Napi::Object& object, const char* key, double otherwise) {
  const Napi::Value value = object.Get(key);
  return value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : otherwise;
}

}  // namespace

Napi::Value ToError(Napi::Env env, const Status& status) {
  const AddonData* data = env.GetInstanceData<AddonData>();
  return data->error_class.New(
      {Napi::String::New(env, CodeName(status.code())), Napi::String::New(env, status.message())});
}

Napi::Value Throw(Napi::Env env, const Status& status) {
  napi_throw(env, ToError(env, status));
  return env.Undefined();
}

Napi::Object ToObject(Napi::Env env, const ModelInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", info.name);
  object.Set("parameters", static_cast<double>(info.parameters));
  object.Set("layers", info.layers);
  object.Set("hidden", static_cast<double>(info.hidden));
  object.Set("vocab", static_cast<double>(info.vocab));
  object.Set("contextLength", static_cast<double>(info.context_length));
  object.Set("vision", info.vision);
  object.Set("audio", info.audio);
  object.Set("imageSoftTokens", static_cast<double>(info.image_soft_tokens));
  object.Set("audioSoftTokens", static_cast<double>(info.audio_soft_tokens));
  object.Set("imageSize", static_cast<double>(info.image_size));
  Napi::Array slices = Napi::Array::New(env, info.slices.size());
  for (size_t i = 0; i < info.slices.size(); ++i) {
    const SliceInfo& slice = info.slices[i];
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", slice.name);
    entry.Set("decodeMacs", static_cast<double>(slice.decode_macs));
    entry.Set("prefillMacs", static_cast<double>(slice.prefill_macs));
    entry.Set("kvGroup", slice.kv_group);
    entry.Set("published", slice.published);
    slices.Set(static_cast<uint32_t>(i), entry);
  }
  object.Set("slices", slices);
  object.Set("loadedSlice", info.loaded_slice);
  object.Set("ffnWidths", ToArray(env, info.ffn_widths));
  object.Set("isa", info.isa);
  object.Set("threads", info.threads);
  object.Set("kvType", info.kv_type);
  object.Set("kvBytes", static_cast<double>(info.kv_bytes));
  object.Set("kvBytesF16", static_cast<double>(info.kv_bytes_f16));
  object.Set("kvBytesQ8", static_cast<double>(info.kv_bytes_q8_0));
  object.Set("weightBytes", static_cast<double>(info.weight_bytes));
  object.Set("multimodalBytes", static_cast<double>(info.multimodal_bytes));
  object.Set("memoryBytes", static_cast<double>(info.memory_bytes));
  object.Set("prompts", info.prompts);
  Napi::Object special = Napi::Object::New(env);
  special.Set("bos", info.special.bos);
  special.Set("eos", info.special.eos);
  special.Set("startOfTurn", info.special.start_of_turn);
  special.Set("endOfTurn", info.special.end_of_turn);
  special.Set("startOfImage", info.special.start_of_image);
  special.Set("imageSoftToken", info.special.image_soft_token);
  special.Set("endOfImage", info.special.end_of_image);
  special.Set("startOfAudio", info.special.start_of_audio);
  special.Set("audioSoftToken", info.special.audio_soft_token);
  special.Set("endOfAudio", info.special.end_of_audio);
  object.Set("special", special);
  return object;
}

Napi::Object ToObject(Napi::Env env, const ReuseStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("maxBytes", static_cast<double>(stats.max_bytes));
  object.Set("bytes", static_cast<double>(stats.bytes));
  object.Set("entries", static_cast<double>(stats.entries));
  object.Set("evicted", static_cast<double>(stats.evicted));
  object.Set("resumes", static_cast<double>(stats.resumes));
  object.Set("hits", static_cast<double>(stats.hits));
  object.Set("positions", static_cast<double>(stats.positions));
  object.Set("mediaHits", static_cast<double>(stats.media_hits));
  return object;
}

Napi::Object ToObject(Napi::Env env, const Sampled& sampled) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("token", sampled.token);
  object.Set("end", sampled.end);
  object.Set("text", sampled.text);
  return object;
}

Napi::Object ToObject(Napi::Env env, const Decoded& decoded) {
  Napi::Array sampled = Napi::Array::New(env, decoded.sampled.size());
  for (uint32_t i = 0; i < decoded.sampled.size(); ++i) sampled.Set(i, ToObject(env, decoded.sampled[i]));
  Napi::Object object = Napi::Object::New(env);
  object.Set("sampled", sampled);
  object.Set("drafted", static_cast<double>(decoded.drafted));
  object.Set("accepted", static_cast<double>(decoded.accepted));
  return object;
}

Napi::Object ToObject(Napi::Env env, const SoftTokens& tokens) {
  Napi::Float32Array rows = Napi::Float32Array::New(env, tokens.rows.size());
  std::memcpy(rows.Data(), tokens.rows.data(), tokens.rows.size() * sizeof(float));
  Napi::Object object = Napi::Object::New(env);
  object.Set("count", static_cast<double>(tokens.count));
  object.Set("rows", rows);
  return object;
}

SoftTokens SoftTokensFrom(const Napi::Object& object) {
  const Napi::Float32Array rows = object.Get("rows").As<Napi::Float32Array>();
  SoftTokens tokens;
  tokens.count = object.Get("count").As<Napi::Number>().Int64Value();
  tokens.rows.assign(rows.Data(), rows.Data() + rows.ElementLength());
  return tokens;
}

SamplingOptions SamplingFrom(const Napi::Object& object) {
  SamplingOptions options;
  options.temperature = static_cast<float>(NumberFrom(object, "temperature", 0));
  options.top_k = static_cast<int>(NumberFrom(object, "topK", 0));
  options.top_p = static_cast<float>(NumberFrom(object, "topP", 1));
  options.min_p = static_cast<float>(NumberFrom(object, "minP", 0));
  options.seed = static_cast<uint64_t>(NumberFrom(object, "seed", 0));
  return options;
}

DraftOptions DraftFrom(const Napi::Object& object) {
  DraftOptions options;
  options.max_tokens = static_cast<int>(NumberFrom(object, "maxTokens", options.max_tokens));
  options.row_cost = NumberFrom(object, "rowCost", options.row_cost);
  return options;
}

SliceOptions SliceFrom(const Napi::Object& object) {
  SliceOptions options;
  options.name = StringFrom(object, "name");
  if (!options.name.empty()) return options;
  options.ffn_widths = NumbersFrom<int64_t>(object.Get("ffnWidths"));
  options.skipped_layers = NumbersFrom<int>(object.Get("skippedLayers"));
  return options;
}

EngineOptions EngineOptionsFrom(const Napi::Object& object) {
  EngineOptions options;
  options.model_path = StringFrom(object, "modelPath");
  options.multimodal_path = StringFrom(object, "multimodalPath");
  options.threads = static_cast<int>(NumberFrom(object, "threads", 0));
  options.isa = StringFrom(object, "isa");
  options.kv_type = StringFrom(object, "kvType");
  options.load_slice = StringFrom(object, "loadSlice");
  options.exact = object.Get("exact").ToBoolean();
  options.context_length = static_cast<int64_t>(NumberFrom(object, "contextLength", 0));
  options.sessions = static_cast<int>(NumberFrom(object, "sessions", 1));
  options.memory_limit = static_cast<uint64_t>(NumberFrom(object, "memoryLimit", 0));
  options.prefix_cache_bytes =
      static_cast<uint64_t>(NumberFrom(object, "prefixCacheBytes", static_cast<double>(options.prefix_cache_bytes)));
  return options;
}

}  // namespace hearth::napi
