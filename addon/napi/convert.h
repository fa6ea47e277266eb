// Between JavaScript values and the runtime's plain data. Arguments arrive checked (daemon/inference/native.ts does it,
// in TypeScript); what is read here is only given its C++ type.
#ifndef HEARTH_NAPI_CONVERT_H_
#define HEARTH_NAPI_CONVERT_H_

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "addon/runtime.h"

namespace hearth::napi {

// One for each environment (worker, jest context).
struct AddonData {
  Napi::FunctionReference error_class;
  Napi::FunctionReference engine_class;
  Napi::FunctionReference session_class;
  Napi::FunctionReference live_audio_class;
};

// A HearthError(code, message).
Napi::Value ToError(Napi::Env env, const Status& status);
// Throws it; returns undefined, for `return Throw(...)`.
Napi::Value Throw(Napi::Env env, const Status& status);

Napi::Object ToObject(Napi::Env env, const ModelInfo& info);
Napi::Object ToObject(Napi::Env env, const ReuseStats& stats);
Napi::Object ToObject(Napi::Env env, const Sampled& sampled);
// { sampled: Sampled[], drafted, accepted }
Napi::Object ToObject(Napi::Env env, const Decoded& decoded);
// { count, rows: Float32Array }
Napi::Object ToObject(Napi::Env env, const SoftTokens& tokens);

SoftTokens SoftTokensFrom(const Napi::Object& object);
SamplingOptions SamplingFrom(const Napi::Object& object);
DraftOptions DraftFrom(const Napi::Object& object);
SliceOptions SliceFrom(const Napi::Object& object);
EngineOptions EngineOptionsFrom(const Napi::Object& object);

// Runs `work` on a pool thread and settles a promise with what `convert` makes of its value. Whatever `work` captured
// lives until then.
template <typename T>
class AsyncCall : public Napi::AsyncWorker {
 public:
  using Work = std::function<StatusOr<T>()>;
  using Convert = std::function<Napi::Value(Napi::Env, T&)>;

  static Napi::Value Run(Napi::Env env, Work work, Convert convert) {
    auto* call = new AsyncCall(env, std::move(work), std::move(convert));
    const Napi::Promise promise = call->deferred_.Promise();
    call->Queue();
    return promise;
  }

 protected:
  void Execute() override { result_.emplace(work_()); }

  void OnOK() override {
    const Napi::HandleScope scope(Env());
    if (result_->ok()) {
      deferred_.Resolve(convert_(Env(), **result_));
    } else {
      deferred_.Reject(ToError(Env(), result_->status()));
    }
  }

 private:
  AsyncCall(Napi::Env env, Work work, Convert convert)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        convert_(std::move(convert)) {}

  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  std::optional<StatusOr<T>> result_;
};

}  // namespace hearth::napi

#endif  // HEARTH_NAPI_CONVERT_H_
