#include "addon/napi/live_audio_wrap.h"

#include <vector>

#include "addon/napi/convert.h"

namespace hearth::napi {

Napi::Function LiveAudioWrap::Define(Napi::Env env) {
  return DefineClass(env, "LiveAudio",
                     {
                         InstanceMethod<&LiveAudioWrap::Feed>("feed"),
                         InstanceMethod<&LiveAudioWrap::Clip>("clip"),
                         InstanceMethod<&LiveAudioWrap::Close>("close"),
                     });
}

Napi::Value LiveAudioWrap::New(Napi::Env env, const std::shared_ptr<Engine>& engine) {
  StatusOr<std::unique_ptr<LiveAudio>> audio = engine->Listen();
  if (!audio.ok()) return Throw(env, audio.status());
  const Napi::Object object = env.GetInstanceData<AddonData>()->live_audio_class.New({});
  Unwrap(object)->audio_ = std::move(*audio);
  return object;
}

Napi::Value LiveAudioWrap::Feed(const Napi::CallbackInfo& info) {
  const Napi::Float32Array array = info[0].As<Napi::Float32Array>();
  std::vector<float> samples(array.Data(), array.Data() + array.ElementLength());
  return AsyncCall<SoftTokens>::Run(
      info.Env(),
      [audio = audio_, samples = std::move(samples)]() -> StatusOr<SoftTokens> {
        HEARTH_RETURN_IF_ERROR(audio->Feed(samples));
        return audio->Tokens();
      },
      [](Napi::Env env, SoftTokens& tokens) -> Napi::Value { return ToObject(env, tokens); });
}

Napi::Value LiveAudioWrap::Clip(const Napi::CallbackInfo& info) {
  return AsyncCall<SoftTokens>::Run(
      info.Env(), [audio = audio_] { return audio->Clip(); },
      [](Napi::Env env, SoftTokens& tokens) -> Napi::Value { return ToObject(env, tokens); });
}

Napi::Value LiveAudioWrap::Close(const Napi::CallbackInfo& info) {
  audio_.reset();
  return info.Env().Undefined();
}

}  // namespace hearth::napi
