// Session as a JavaScript handle. One call at a time: native.ts keeps a second one from starting before the first ends.
#ifndef HEARTH_NAPI_SESSION_WRAP_H_
#define HEARTH_NAPI_SESSION_WRAP_H_

#include <napi.h>

#include <memory>

#include "addon/runtime.h"

namespace hearth::napi {

class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  explicit SessionWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SessionWrap>(info) {}

  static Napi::Function Define(Napi::Env env);
  static Napi::Value New(Napi::Env env, const std::shared_ptr<Engine>& engine);

 private:
  Napi::Value SetSlice(const Napi::CallbackInfo& info);    // ({name} | {ffnWidths, skippedLayers}): void
  Napi::Value SliceName(const Napi::CallbackInfo& info);   // (): string
  Napi::Value SetGrammar(const Napi::CallbackInfo& info);  // (jsonSchema: string | null): void
  Napi::Value Append(const Napi::CallbackInfo& info);      // (ids: Int32Array, soft: SoftTokens[]): void
  // (ids: Int32Array, soft: SoftTokens[], slice | null, checkpoints: Int32Array): Promise<number>, positions reused
  Napi::Value Resume(const Napi::CallbackInfo& info);
  Napi::Value Reused(const Napi::CallbackInfo& info);      // (): number
  Napi::Value Checkpoint(const Napi::CallbackInfo& info);  // (): Promise<void>
  Napi::Value KvBytes(const Napi::CallbackInfo& info);     // (): number
  Napi::Value Advance(const Napi::CallbackInfo& info);     // (maxTokens): Promise<number>, tokens still pending
  Napi::Value Sample(const Napi::CallbackInfo& info);      // (sampling): Sampled
  Napi::Value Decode(const Napi::CallbackInfo& info);      // (sampling, maxTokens, draft): Promise<Decoded>
  Napi::Value FlushText(const Napi::CallbackInfo& info);   // (): string
  Napi::Value Logits(const Napi::CallbackInfo& info);      // (): Float32Array
  Napi::Value Position(const Napi::CallbackInfo& info);    // (): number
  Napi::Value Rewind(const Napi::CallbackInfo& info);      // (position): void
  Napi::Value Snapshot(const Napi::CallbackInfo& info);    // (): Uint8Array
  Napi::Value Restore(const Napi::CallbackInfo& info);     // (snapshot: Uint8Array): void

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Session> session_;
};

}  // namespace hearth::napi

#endif  // HEARTH_NAPI_SESSION_WRAP_H_
