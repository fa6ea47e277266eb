// LiveAudio: the audio encoder, fed as sound arrives.
#include "addon/engine_impl.h"

namespace hearth {

struct LiveAudio::Impl {
  Impl(std::shared_ptr<Engine::Impl> engine_in, std::unique_ptr<AudioStream> stream_in)
      : engine(std::move(engine_in)), stream(std::move(stream_in)) {}

  std::shared_ptr<Engine::Impl> engine;
  MelExtractor mel;
  std::unique_ptr<AudioStream> stream;
  std::vector<float> samples;  // all so far; their hash is the clip's name in the cache
};

LiveAudio::LiveAudio(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LiveAudio::~LiveAudio() = default;

StatusOr<std::unique_ptr<LiveAudio>> Engine::Listen() const {
  if (!impl_->audio) return Error(Code::MODEL_UNSUPPORTED, "the model has no audio encoder: it takes no sound");
  HEARTH_ASSIGN_OR_RETURN(std::unique_ptr<AudioStream> stream, AudioStream::Start(*impl_->audio, AudioStream::kLive));
  return std::unique_ptr<LiveAudio>(new LiveAudio(std::make_unique<LiveAudio::Impl>(impl_, std::move(stream))));
}

Status LiveAudio::Feed(std::span<const float> samples) {
  Engine::Impl& engine = *impl_->engine;
  const std::lock_guard<std::mutex> turn(engine.compute);
  HEARTH_RETURN_IF_ERROR(impl_->mel.Feed(samples.data(), static_cast<int64_t>(samples.size()),
                                         [&](const float* frame) { return impl_->stream->Feed(engine.exec, frame); }));
  impl_->samples.insert(impl_->samples.end(), samples.begin(), samples.end());
  return Status();
}

SoftTokens LiveAudio::Tokens() const {
  const ConstMatF rows = impl_->stream->soft_tokens();
  return {rows.rows, std::vector<float>(rows.data, rows.data + rows.rows * rows.cols)};
}

StatusOr<SoftTokens> LiveAudio::Clip() const {
  Engine::Impl& engine = *impl_->engine;
  const AudioEncoder& encoder = *engine.audio;
  // Brings a copy to its end, so that the clip can go on.
  HEARTH_ASSIGN_OR_RETURN(const std::unique_ptr<AudioStream> stream, AudioStream::Start(encoder, AudioStream::kLive));
  HEARTH_RETURN_IF_ERROR(stream->Assign(*impl_->stream));
  MelExtractor mel = impl_->mel;
  SoftTokens tokens;
  tokens.count = engine.info.audio_soft_tokens;
  tokens.rows.resize(static_cast<size_t>(tokens.count * engine.info.hidden));
  const MatF rows(tokens.rows.data(), tokens.count, engine.info.hidden);
  const std::lock_guard<std::mutex> turn(engine.compute);
  HEARTH_RETURN_IF_ERROR(mel.Finish([&](const float* frame) { return stream->Feed(engine.exec, frame); }));
  HEARTH_RETURN_IF_ERROR(stream->Finish(engine.exec));
  HEARTH_RETURN_IF_ERROR(encoder.Take(engine.exec, *stream, rows));
  engine.media_cache.Insert(engine.AudioKey(impl_->samples), tokens);
  return tokens;
}

}  // namespace hearth
