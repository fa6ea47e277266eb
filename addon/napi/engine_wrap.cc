#include "addon/napi/engine_wrap.h"

#include <chrono>
#include <cstring>

#include "addon/napi/convert.h"
#include "addon/napi/live_audio_wrap.h"
#include "addon/napi/session_wrap.h"

namespace hearth::napi {

Napi::Function EngineWrap::Define(Napi::Env env) {
  return DefineClass(env, "Engine",
                     {
                         InstanceMethod<&EngineWrap::Info>("info"),
                         InstanceMethod<&EngineWrap::Tokenize>("tokenize"),
                         InstanceMethod<&EngineWrap::Detokenize>("detokenize"),
                         InstanceMethod<&EngineWrap::EncodeImage>("encodeImage"),
                         InstanceMethod<&EngineWrap::EncodeAudio>("encodeAudio"),
                         InstanceMethod<&EngineWrap::Listen>("listen"),
                         InstanceMethod<&EngineWrap::NewSession>("newSession"),
                         InstanceMethod<&EngineWrap::Reuse>("reuse"),
                     });
}

namespace {

// Shortest time between two calls of onProgress, but for the last.
constexpr auto kProgressInterval = std::chrono::milliseconds(100);

// A JavaScript function that another thread calls with a number now and then. What is still on its way when this is
// destroyed arrives all the same.
class ProgressCallback {
 public:
  ProgressCallback(Napi::Env env, Napi::Function function)
      : call_(Napi::ThreadSafeFunction::New(env, function, "hearth load", 0, 1)) {}
  ~ProgressCallback() { call_.Release(); }
  ProgressCallback(const ProgressCallback&) = delete;
  ProgressCallback& operator=(const ProgressCallback&) = delete;

  void Tell(double fraction) {
    const auto now = std::chrono::steady_clock::now();
    if (fraction < 1 && now - last_ < kProgressInterval) return;
    last_ = now;
    call_.NonBlockingCall([fraction](Napi::Env env, Napi::Function function) {
      if (env != nullptr && function != nullptr) function.Call({Napi::Number::New(env, fraction)});
    });
  }

 private:
  Napi::ThreadSafeFunction call_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace

Napi::Value EngineWrap::Open(const Napi::CallbackInfo& info) {
  const Napi::Object object = info[0].As<Napi::Object>();
  EngineOptions options = EngineOptionsFrom(object);
  if (const Napi::Value listener = object.Get("onProgress"); listener.IsFunction()) {
    const auto callback = std::make_shared<ProgressCallback>(info.Env(), listener.As<Napi::Function>());
    options.on_progress = [callback](double fraction) { callback->Tell(fraction); };
  }
  return AsyncCall<std::shared_ptr<Engine>>::Run(
      info.Env(), [options = std::move(options)] { return Engine::Open(options); },
      [](Napi::Env env, std::shared_ptr<Engine>& engine) {
        const Napi::Object object = env.GetInstanceData<AddonData>()->engine_class.New({});
        Unwrap(object)->engine_ = std::move(engine);
        return object;
      });
}

Napi::Value EngineWrap::Info(const Napi::CallbackInfo& info) { return ToObject(info.Env(), engine_->info()); }

Napi::Value EngineWrap::Tokenize(const Napi::CallbackInfo& info) {
  const StatusOr<std::vector<int32_t>> ids =
      engine_->Tokenize(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::Boolean>());
  if (!ids.ok()) return Throw(info.Env(), ids.status());
  Napi::Int32Array array = Napi::Int32Array::New(info.Env(), ids.value().size());
  std::memcpy(array.Data(), ids.value().data(), ids.value().size() * sizeof(int32_t));
  return array;
}

Napi::Value EngineWrap::Detokenize(const Napi::CallbackInfo& info) {
  const Napi::Int32Array ids = info[0].As<Napi::Int32Array>();
  const StatusOr<std::string> text = engine_->Detokenize(std::span<const int32_t>(ids.Data(), ids.ElementLength()));
  if (!text.ok()) return Throw(info.Env(), text.status());
  return Napi::String::New(info.Env(), text.value());
}

Napi::Value EngineWrap::EncodeImage(const Napi::CallbackInfo& info) {
  const Napi::Uint8Array pixels = info[0].As<Napi::Uint8Array>();
  // A copy: JavaScript may change or detach its buffer while the encoder runs.
  std::vector<uint8_t> rgb(pixels.Data(), pixels.Data() + pixels.ElementLength());
  const int64_t width = info[1].As<Napi::Number>().Int64Value(), height = info[2].As<Napi::Number>().Int64Value();
  const int64_t size = info[3].As<Napi::Number>().Int64Value();
  return AsyncCall<SoftTokens>::Run(
      info.Env(),
      [engine = engine_, rgb = std::move(rgb), width, height, size] {
        return engine->EncodeImage(rgb.data(), width, height, size);
      },
      [](Napi::Env env, SoftTokens& tokens) -> Napi::Value { return ToObject(env, tokens); });
}

Napi::Value EngineWrap::EncodeAudio(const Napi::CallbackInfo& info) {
  const Napi::Float32Array array = info[0].As<Napi::Float32Array>();
  std::vector<float> samples(array.Data(), array.Data() + array.ElementLength());
  return AsyncCall<SoftTokens>::Run(
      info.Env(), [engine = engine_, samples = std::move(samples)] { return engine->EncodeAudio(samples); },
      [](Napi::Env env, SoftTokens& tokens) -> Napi::Value { return ToObject(env, tokens); });
}

Napi::Value EngineWrap::Listen(const Napi::CallbackInfo& info) { return LiveAudioWrap::New(info.Env(), engine_); }

Napi::Value EngineWrap::NewSession(const Napi::CallbackInfo& info) { return SessionWrap::New(info.Env(), engine_); }

Napi::Value EngineWrap::Reuse(const Napi::CallbackInfo& info) { return ToObject(info.Env(), engine_->reuse()); }

}  // namespace hearth::napi
