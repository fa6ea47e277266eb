// LiveAudio as a JavaScript handle. One call at a time, as with sessions.
#ifndef HEARTH_NAPI_LIVE_AUDIO_WRAP_H_
#define HEARTH_NAPI_LIVE_AUDIO_WRAP_H_

#include <napi.h>

#include <memory>

#include "addon/runtime.h"

namespace hearth::napi {

class LiveAudioWrap : public Napi::ObjectWrap<LiveAudioWrap> {
 public:
  explicit LiveAudioWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<LiveAudioWrap>(info) {}

  static Napi::Function Define(Napi::Env env);
  static Napi::Value New(Napi::Env env, const std::shared_ptr<Engine>& engine);

 private:
  Napi::Value Feed(const Napi::CallbackInfo& info);  // (samples: Float32Array): Promise<SoftTokens>, all so far
  Napi::Value Clip(const Napi::CallbackInfo& info);  // (): Promise<SoftTokens>
  // (): void. Gives the memory back now, not when the handle is collected; nothing may be called after it.
  Napi::Value Close(const Napi::CallbackInfo& info);

  std::shared_ptr<LiveAudio> audio_;
};

}  // namespace hearth::napi

#endif  // HEARTH_NAPI_LIVE_AUDIO_WRAP_H_
