#include "addon/napi/session_wrap.h"

#include <cstring>

#include "addon/napi/convert.h"

namespace hearth::napi {
namespace {

Napi::Value Settle(const Napi::CallbackInfo& info, const Status& status) {
  return status.ok() ? info.Env().Undefined() : Throw(info.Env(), status);
}

// What Append and Resume take. Copies: JavaScript may change or detach its arrays while the session computes.
struct Prompt {
  std::vector<int32_t> ids;
  std::vector<SoftTokens> soft;

  Prompt(const Napi::Value& ids_value, const Napi::Value& soft_value) {
    const Napi::Int32Array array = ids_value.As<Napi::Int32Array>();
    ids.assign(array.Data(), array.Data() + array.ElementLength());
    const Napi::Array tokens = soft_value.As<Napi::Array>();
    for (uint32_t i = 0; i < tokens.Length(); ++i) soft.push_back(SoftTokensFrom(tokens.Get(i).As<Napi::Object>()));
  }

  std::vector<const SoftTokens*> pointers() const {
    std::vector<const SoftTokens*> result;
    for (const SoftTokens& tokens : soft) result.push_back(&tokens);
    return result;
  }
};

Napi::Value ToNumber(Napi::Env env, int64_t& value) { return Napi::Number::New(env, static_cast<double>(value)); }

}  // namespace

Napi::Function SessionWrap::Define(Napi::Env env) {
  return DefineClass(env, "Session",
                     {
                         InstanceMethod<&SessionWrap::SetSlice>("setSlice"),
                         InstanceMethod<&SessionWrap::SliceName>("sliceName"),
                         InstanceMethod<&SessionWrap::SetGrammar>("setGrammar"),
                         InstanceMethod<&SessionWrap::Append>("append"),
                         InstanceMethod<&SessionWrap::Resume>("resume"),
                         InstanceMethod<&SessionWrap::Reused>("reused"),
                         InstanceMethod<&SessionWrap::Checkpoint>("checkpoint"),
                         InstanceMethod<&SessionWrap::KvBytes>("kvBytes"),
                         InstanceMethod<&SessionWrap::Advance>("advance"),
                         InstanceMethod<&SessionWrap::Sample>("sample"),
                         InstanceMethod<&SessionWrap::Decode>("decode"),
                         InstanceMethod<&SessionWrap::FlushText>("flushText"),
                         InstanceMethod<&SessionWrap::Logits>("logits"),
                         InstanceMethod<&SessionWrap::Position>("position"),
                         InstanceMethod<&SessionWrap::Rewind>("rewind"),
                         InstanceMethod<&SessionWrap::Snapshot>("snapshot"),
                         InstanceMethod<&SessionWrap::Restore>("restore"),
                     });
}

Napi::Value SessionWrap::New(Napi::Env env, const std::shared_ptr<Engine>& engine) {
  StatusOr<std::unique_ptr<Session>> session = engine->NewSession();
  if (!session.ok()) return Throw(env, session.status());
  const Napi::Object object = env.GetInstanceData<AddonData>()->session_class.New({});
  Unwrap(object)->engine_ = engine;
  Unwrap(object)->session_ = std::move(*session);
  return object;
}

Napi::Value SessionWrap::SetSlice(const Napi::CallbackInfo& info) {
  return Settle(info, session_->SetSlice(SliceFrom(info[0].As<Napi::Object>())));
}

Napi::Value SessionWrap::SliceName(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), session_->slice_name());
}

Napi::Value SessionWrap::SetGrammar(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) return Settle(info, session_->SetGrammar(nullptr));
  const StatusOr<std::shared_ptr<const Grammar>> grammar =
      engine_->CompileGrammar(info[0].As<Napi::String>().Utf8Value());
  return Settle(info, grammar.ok() ? session_->SetGrammar(grammar.value()) : grammar.status());
}

Napi::Value SessionWrap::Append(const Napi::CallbackInfo& info) {
  const Prompt prompt(info[0], info[1]);
  return Settle(info, session_->Append(prompt.ids, prompt.pointers()));
}

Napi::Value SessionWrap::Resume(const Napi::CallbackInfo& info) {
  const bool has_slice = info[2].IsObject();
  const SliceOptions slice = has_slice ? SliceFrom(info[2].As<Napi::Object>()) : SliceOptions();
  const Napi::Int32Array array = info[3].As<Napi::Int32Array>();
  const std::vector<int64_t> checkpoints(array.Data(), array.Data() + array.ElementLength());
  return AsyncCall<int64_t>::Run(
      info.Env(),
      [session = session_, prompt = Prompt(info[0], info[1]), has_slice, slice, checkpoints] {
        return session->Resume(prompt.ids, prompt.pointers(), {has_slice ? &slice : nullptr, checkpoints});
      },
      ToNumber);
}

Napi::Value SessionWrap::Reused(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(session_->reused()));
}

Napi::Value SessionWrap::Checkpoint(const Napi::CallbackInfo& info) {
  return AsyncCall<bool>::Run(
      info.Env(),
      [session = session_]() -> StatusOr<bool> {
        session->Checkpoint();
        return true;
      },
      [](Napi::Env env, bool&) { return env.Undefined(); });
}

Napi::Value SessionWrap::KvBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(session_->kv_bytes()));
}

Napi::Value SessionWrap::Advance(const Napi::CallbackInfo& info) {
  const int64_t max_tokens = info[0].As<Napi::Number>().Int64Value();
  return AsyncCall<int64_t>::Run(
      info.Env(), [session = session_, max_tokens] { return session->Advance(max_tokens); }, ToNumber);
}

Napi::Value SessionWrap::Sample(const Napi::CallbackInfo& info) {
  const StatusOr<Sampled> sampled = session_->Sample(SamplingFrom(info[0].As<Napi::Object>()));
  return sampled.ok() ? Napi::Value(ToObject(info.Env(), sampled.value())) : Throw(info.Env(), sampled.status());
}

Napi::Value SessionWrap::Decode(const Napi::CallbackInfo& info) {
  const SamplingOptions sampling = SamplingFrom(info[0].As<Napi::Object>());
  const int64_t max_tokens = info[1].As<Napi::Number>().Int64Value();
  const DraftOptions draft = DraftFrom(info[2].As<Napi::Object>());
  return AsyncCall<Decoded>::Run(
      info.Env(),
      [session = session_, sampling, max_tokens, draft] { return session->Decode(sampling, max_tokens, draft); },
      [](Napi::Env env, Decoded& decoded) -> Napi::Value { return ToObject(env, decoded); });
}

Napi::Value SessionWrap::FlushText(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), session_->FlushText());
}

Napi::Value SessionWrap::Logits(const Napi::CallbackInfo& info) {
  const std::span<const float> logits = session_->logits();
  Napi::Float32Array array = Napi::Float32Array::New(info.Env(), logits.size());
  if (!logits.empty()) std::memcpy(array.Data(), logits.data(), logits.size_bytes());
  return array;
}

Napi::Value SessionWrap::Position(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(session_->position()));
}

Napi::Value SessionWrap::Rewind(const Napi::CallbackInfo& info) {
  return Settle(info, session_->Rewind(info[0].As<Napi::Number>().Int64Value()));
}

Napi::Value SessionWrap::Snapshot(const Napi::CallbackInfo& info) {
  const std::vector<uint8_t> bytes = session_->Snapshot();
  Napi::Uint8Array array = Napi::Uint8Array::New(info.Env(), bytes.size());
  std::memcpy(array.Data(), bytes.data(), bytes.size());
  return array;
}

Napi::Value SessionWrap::Restore(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array bytes = info[0].As<Napi::Uint8Array>();
  return Settle(info, session_->Restore(std::span<const uint8_t>(bytes.Data(), bytes.ElementLength())));
}

}  // namespace hearth::napi
