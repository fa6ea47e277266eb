#include "addon/model/audio_encoder.h"

#include <algorithm>
#include <string>

namespace hearth {

StatusOr<std::unique_ptr<AudioEncoder>> AudioEncoder::Load(std::shared_ptr<const GgufFile> file, int64_t text_hidden) {
  std::unique_ptr<AudioEncoder> encoder(new AudioEncoder());
  encoder->file_ = std::move(file);
  HEARTH_RETURN_IF_ERROR(encoder->LoadAll(text_hidden));
  return encoder;
}

Status AudioEncoder::LoadAll(int64_t text_hidden) {
  const TensorLoader loader(*file_);
  HEARTH_ASSIGN_OR_RETURN(config_, AudioConfig::Load(*file_));
  int64_t bands = MelExtractor::kBands, channels = 1;
  for (size_t i = 0; i < convs_.size(); ++i) {
    const std::string prefix = "a.conv1d." + std::to_string(i);
    HEARTH_ASSIGN_OR_RETURN(convs_[i], SubsampleConv::Load(loader, prefix, bands, channels, config_.group_norm_eps));
    bands = convs_[i].out_bands();
    channels = convs_[i].out_channels();
  }
  // llama.cpp's converter maps the projection to a name that means something else in other models.
  const bool ours =
      file_->Find("a.input_projection.weight") != nullptr || file_->Find("a.pre_encode.out.weight") == nullptr;
  HEARTH_ASSIGN_OR_RETURN(
      input_projection_,
      loader.Matrix(ours ? "a.input_projection.weight" : "a.pre_encode.out.weight", config_.hidden, bands * channels));
  blocks_.reserve(static_cast<size_t>(config_.blocks));
  for (int64_t b = 0; b < config_.blocks; ++b) {
    HEARTH_ASSIGN_OR_RETURN(ConformerBlock block,
                            ConformerBlock::Load(loader, "a.blk." + std::to_string(b) + ".", config_));
    blocks_.push_back(std::move(block));
  }
  HEARTH_ASSIGN_OR_RETURN(MultimodalEmbedder embedder, MultimodalEmbedder::Load(loader, "mm.a.", text_hidden));
  if (embedder.hidden() != config_.hidden) {
    return Error(Code::MODEL_MISMATCH, "the audio encoder makes %lld values, its embedder takes %lld",
                 static_cast<long long>(config_.hidden), static_cast<long long>(embedder.hidden()));
  }
  embedder_ = std::make_unique<MultimodalEmbedder>(std::move(embedder));
  return Status();
}

std::vector<Weight*> AudioEncoder::Matrices() {
  std::vector<Weight*> matrices = {&input_projection_};
  for (ConformerBlock& block : blocks_) block.AddMatrices(&matrices);
  matrices.push_back(embedder_->projection());
  return matrices;
}

Status AudioEncoder::Prepare(Exec& exec, bool exact) {
  for (ConformerBlock& block : blocks_) HEARTH_RETURN_IF_ERROR(block.MakePositions(exec));
  return exact ? Status() : panels_.Pack(exec.kernels(), *file_, Matrices(), exec.pool());
}

uint64_t AudioEncoder::PackedBytes(const hearth_kernels& kernels) const {
  return PanelWeights::Bytes(kernels, const_cast<AudioEncoder*>(this)->Matrices());  // which changes nothing
}

uint64_t AudioEncoder::StoredBytes() const {
  uint64_t bytes = 0;
  for (const Weight* w : const_cast<AudioEncoder*>(this)->Matrices())
    bytes += static_cast<uint64_t>(w->rows * w->row_bytes);
  return bytes;
}

Status AudioEncoder::Encode(Exec& exec, const float* samples, int64_t n, MatF out, int64_t* valid) const {
  if (out.rows != kSoftTokens || out.cols != embedder_->text_hidden()) {
    return Error(Code::INTERNAL, "audio tokens into [%lld, %lld]; expected [%lld, %lld]",
                 static_cast<long long>(out.rows), static_cast<long long>(out.cols),
                 static_cast<long long>(kSoftTokens), static_cast<long long>(embedder_->text_hidden()));
  }
  HEARTH_ASSIGN_OR_RETURN(const std::unique_ptr<AudioStream> stream,
                          AudioStream::Start(*this, AudioStream::kWholeClip));
  MelExtractor mel;
  const MelExtractor::Sink sink = [&](const float* frame) { return stream->Feed(exec, frame); };
  HEARTH_RETURN_IF_ERROR(mel.Feed(samples, n, sink));
  HEARTH_RETURN_IF_ERROR(mel.Finish(sink));
  HEARTH_RETURN_IF_ERROR(stream->Finish(exec));
  *valid = stream->tokens();
  return Take(exec, *stream, out);
}

Status AudioEncoder::Take(Exec& exec, const AudioStream& stream, MatF out) const {
  const ConstMatF tokens = stream.soft_tokens();
  for (int64_t t = 0; t < tokens.rows; ++t) std::copy_n(tokens.row(t), tokens.cols, out.row(t));
  if (tokens.rows == out.rows) return Status();
  HEARTH_RETURN_IF_ERROR(embedder_->EmbedHard(exec, embedder_->vocab_size() - 1, out.row(tokens.rows)));
  for (int64_t t = tokens.rows + 1; t < out.rows; ++t) std::copy_n(out.row(tokens.rows), out.cols, out.row(t));
  return Status();
}

StatusOr<std::unique_ptr<AudioStream>> AudioStream::Start(const AudioEncoder& encoder, int64_t chunk) {
  std::unique_ptr<AudioStream> stream(new AudioStream(encoder, chunk));
  HEARTH_RETURN_IF_ERROR(stream->Allocate());
  return stream;
}

Status AudioStream::Allocate() {
  const int64_t hidden = encoder_.hidden();
  const auto rows = [](int64_t count, int64_t width) { return static_cast<size_t>(count * width); };
  for (size_t i = 0; i < convs_.size(); ++i) HEARTH_RETURN_IF_ERROR(encoder_.convs_[i].Start(convs_[i]));
  blocks_.resize(encoder_.blocks_.size());
  int64_t ffn = 0;
  for (size_t b = 0; b < blocks_.size(); ++b) {
    HEARTH_RETURN_IF_ERROR(encoder_.blocks_[b].Start(blocks_[b]));
    ffn = std::max(ffn, encoder_.blocks_[b].ffn());
  }
  HEARTH_RETURN_IF_ERROR(workspace_.Allocate(encoder_.config(), ffn, chunk_));
  HEARTH_RETURN_IF_ERROR(features_.Reserve(chunk_ + SubsampleConv::kMaxOutput, encoder_.input_projection_.cols));
  HEARTH_RETURN_IF_ERROR(hidden_.Reset(rows(std::max(chunk_, kAlikeTokens + 1), hidden)));
  HEARTH_RETURN_IF_ERROR(encoded_.Reset(rows(AudioEncoder::kSoftTokens, hidden)));
  return soft_.Reset(rows(AudioEncoder::kSoftTokens, encoder_.embedder().text_hidden()));
}

Status AudioStream::Assign(const AudioStream& other) {
  for (size_t i = 0; i < convs_.size(); ++i) HEARTH_RETURN_IF_ERROR(convs_[i].Assign(other.convs_[i]));
  for (size_t b = 0; b < blocks_.size(); ++b) HEARTH_RETURN_IF_ERROR(blocks_[b].Assign(other.blocks_[b]));
  const auto copy = [](ConstMatF from, float* to) { std::copy_n(from.data, from.rows * from.cols, to); };
  copy(other.features_.values(other.waiting_), features_.row(0));
  copy(other.encoded(), encoded_.data());
  copy(other.soft_tokens(), soft_.data());
  mel_frames_ = other.mel_frames_;
  waiting_ = other.waiting_;
  frames_ = other.frames_;
  tokens_ = other.tokens_;
  return Status();
}

Status AudioStream::Feed(Exec& exec, const float* mel) {
  if (mel_frames_ == kMaxAudioFrames) {
    return Error(Code::AUDIO_INVALID, "a clip may have %lld mel frames (30 s)",
                 static_cast<long long>(kMaxAudioFrames));
  }
  ++mel_frames_;
  std::copy_n(mel, MelExtractor::kBands, convs_[0].next());
  convs_[0].Advance(1);
  return convs_[0].rows() == SubsampleConv::kMaxRows ? RunConvs(exec, false) : Status();
}

Status AudioStream::Finish(Exec& exec) { return RunConvs(exec, true); }

Status AudioStream::RunConvs(Exec& exec, bool end) {
  HEARTH_ASSIGN_OR_RETURN(const int64_t halved, encoder_.convs_[0].Run(exec, convs_[0], end, convs_[1].next()));
  convs_[1].Advance(halved);
  float* const next = features_.row(waiting_);
  HEARTH_ASSIGN_OR_RETURN(const int64_t quartered, encoder_.convs_[1].Run(exec, convs_[1], end, next));
  waiting_ += quartered;
  while (waiting_ >= chunk_) HEARTH_RETURN_IF_ERROR(RunChunk(exec, chunk_));
  return end && waiting_ > 0 ? RunChunk(exec, waiting_) : Status();
}

Status AudioStream::RunChunk(Exec& exec, int64_t frames) {
  const int64_t tokens = std::max(frames, kAlikeTokens + 1);  // see ConformerBlock
  for (int64_t f = 0; f < frames; ++f) features_.Quantise(exec.kernels(), f);
  HEARTH_RETURN_IF_ERROR(
      MatMul(exec, tokens, {{encoder_.input_projection_, features_, MatF(hidden_.data(), tokens, encoder_.hidden())}}));
  const MatF x(hidden_.data(), frames, encoder_.hidden());
  waiting_ -= frames;
  std::copy_n(features_.row(frames), waiting_ * features_.cols(), features_.row(0));
  for (size_t b = 0; b < blocks_.size(); ++b) {
    HEARTH_RETURN_IF_ERROR(encoder_.blocks_[b].Run(exec, blocks_[b], workspace_, x));
  }
  const int64_t before = tokens_;
  for (int64_t f = 0; f < frames; ++f, ++frames_) {
    if (frames_ % encoder_.config().reduction != 0) continue;
    std::copy_n(x.row(f), x.cols, encoded_.data() + tokens_ * x.cols);
    ++tokens_;
  }
  if (tokens_ == before) return Status();
  const int64_t text_hidden = encoder_.embedder().text_hidden();
  return encoder_.embedder().EmbedSoft(exec, ConstMatF(encoded_.data() + before * x.cols, tokens_ - before, x.cols),
                                       MatF(soft_.data() + before * text_hidden, tokens_ - before, text_hidden));
}

}  // namespace hearth
