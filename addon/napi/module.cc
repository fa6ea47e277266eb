// The addon's table of contents: initialize(errorClass), openEngine(options), and the handle classes.
#include <napi.h>

#include "addon/napi/convert.h"
#include "addon/napi/engine_wrap.h"
#include "addon/napi/live_audio_wrap.h"
#include "addon/napi/session_wrap.h"

namespace hearth::napi {
namespace {

// initialize(HearthError): the class rejections are made of. Built-in error classes made here would not be
// `instanceof` the same class inside jest.
Napi::Value Initialize(const Napi::CallbackInfo& info) {
  info.Env().GetInstanceData<AddonData>()->error_class = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

}  // namespace

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  AddonData* data = new AddonData();
  env.SetInstanceData(data);
  data->engine_class = Napi::Persistent(EngineWrap::Define(env));
  data->session_class = Napi::Persistent(SessionWrap::Define(env));
  data->live_audio_class = Napi::Persistent(LiveAudioWrap::Define(env));
  exports.Set("initialize", Napi::Function::New(env, Initialize));
  exports.Set("openEngine", Napi::Function::New(env, EngineWrap::Open));
  return exports;
}

}  // namespace hearth::napi

static Napi::Object InitModule(Napi::Env env, Napi::Object exports) { return hearth::napi::Init(env, exports); }
NODE_API_MODULE(hearth, InitModule)
