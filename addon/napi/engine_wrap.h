// Engine as a JavaScript handle.
#ifndef HEARTH_NAPI_ENGINE_WRAP_H_
#define HEARTH_NAPI_ENGINE_WRAP_H_

#include <napi.h>

#include <memory>

#include "addon/runtime.h"

namespace hearth::napi {

class EngineWrap : public Napi::ObjectWrap<EngineWrap> {
 public:
  explicit EngineWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineWrap>(info) {}

  static Napi::Function Define(Napi::Env env);
  // openEngine(options): Promise<Engine>; options.onProgress(fraction) is called meanwhile, ten times a second at most.
  static Napi::Value Open(const Napi::CallbackInfo& info);

 private:
  Napi::Value Info(const Napi::CallbackInfo& info);         // (): ModelInfo
  Napi::Value Tokenize(const Napi::CallbackInfo& info);     // (text, parseSpecial): Int32Array
  Napi::Value Detokenize(const Napi::CallbackInfo& info);   // (ids: Int32Array): string
  Napi::Value EncodeImage(const Napi::CallbackInfo& info);  // (rgb, width, height, size): Promise<SoftTokens>
  Napi::Value EncodeAudio(const Napi::CallbackInfo& info);  // (samples: Float32Array): Promise<SoftTokens>
  Napi::Value Listen(const Napi::CallbackInfo& info);       // (): LiveAudio
  Napi::Value NewSession(const Napi::CallbackInfo& info);   // (): Session
  Napi::Value Reuse(const Napi::CallbackInfo& info);        // (): ReuseStats

  std::shared_ptr<Engine> engine_;
};

}  // namespace hearth::napi

#endif  // HEARTH_NAPI_ENGINE_WRAP_H_
