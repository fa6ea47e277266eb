// The audio encoder against what Hugging Face's implementation computes from the same weights.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "addon/model/audio_encoder.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::Golden;
using test::MaxDifference;
using test::MinCosine;
using test::OpenGguf;

constexpr char kModel[] = "daemon/demo/model/mmproj-nano.gguf";
constexpr char kGolden[] = "test/fixtures/models/nano.golden.gguf";
constexpr int64_t kTextHidden = 192;
// Of the largest value; float32 against float32, so what is left is the order of summation.
constexpr float kTolerance = 1e-4f;
// Of each token in 8 bits.
constexpr double kMinCosine = 0.995;
// Between instruction sets: where one rounds up, another may round down.
constexpr double kMinCosineOfTables = 0.999;

// In float32, or else in 8 bits.
std::unique_ptr<AudioEncoder> Load(bool exact = true, const char* isa = "auto") {
  StatusOr<std::unique_ptr<AudioEncoder>> encoder = AudioEncoder::Load(OpenGguf(kModel), kTextHidden);
  REQUIRE_MESSAGE(encoder.ok(), encoder.status().message());
  ThreadPool pool(2);
  Exec exec(*ChooseKernels(isa), pool);
  REQUIRE((*encoder)->Prepare(exec, exact).ok());
  return std::move(*encoder);
}

struct Clip {
  std::string name;
  const float* samples;
  int64_t sample_count;
  int64_t tokens;

  static std::vector<Clip> All(const GgufFile& golden) {
    std::vector<Clip> clips;
    for (int i = 0; i < 3; ++i) {
      const std::string name = "audio" + std::to_string(i);
      const GgufTensor* samples = golden.Find(name + ".samples");
      if (samples == nullptr) continue;
      clips.push_back(
          {name, Golden<float>(golden, name + ".samples"), samples->elements(), golden.Find(name + ".tokens")->rows()});
    }
    REQUIRE(!clips.empty());
    return clips;
  }
};

// A clip through a stream: what comes out before and after the embedder.
struct Streamed {
  Status status;
  std::vector<float> encoded, soft;
};

std::vector<float> Values(ConstMatF m) { return std::vector<float>(m.data, m.data + m.rows * m.cols); }

// `cut` gives the length of the next piece of sound.
template <typename Cut>
Streamed Stream(const AudioEncoder& encoder, Exec& exec, const float* samples, int64_t n, Cut&& cut,
                int64_t chunk = AudioStream::kWholeClip) {
  StatusOr<std::unique_ptr<AudioStream>> stream = AudioStream::Start(encoder, chunk);
  REQUIRE(stream.ok());
  MelExtractor mel;
  const MelExtractor::Sink sink = [&](const float* frame) { return (*stream)->Feed(exec, frame); };
  Streamed result;
  for (int64_t at = 0; at < n && result.status.ok();) {
    const int64_t piece = std::min<int64_t>(cut(), n - at);
    result.status = mel.Feed(samples + at, piece, sink);
    at += piece;
  }
  if (result.status.ok()) result.status = mel.Finish(sink);
  if (result.status.ok()) result.status = (*stream)->Finish(exec);
  result.encoded = Values((*stream)->encoded());
  result.soft = Values((*stream)->soft_tokens());
  return result;
}

Streamed Stream(const AudioEncoder& encoder, Exec& exec, const Clip& clip) {
  return Stream(encoder, exec, clip.samples, clip.sample_count, [&] { return clip.sample_count; });
}

float MaxValue(const float* values, int64_t n) {
  float max = 0;
  for (int64_t i = 0; i < n; ++i) max = std::max(max, std::fabs(values[i]));
  return max;
}

void CheckClose(const std::vector<float>& values, const float* truth, int64_t rows) {
  const int64_t n = static_cast<int64_t>(values.size());
  CHECK(MinCosine(values.data(), truth, rows, n / rows) > 0.99999);
  CHECK(MaxDifference(values.data(), truth, n) < kTolerance * MaxValue(truth, n));
}

TEST_CASE("encoder output and tokens of recordings are the reference's, on every instruction set") {
  const auto encoder = Load();
  const auto golden = OpenGguf(kGolden);
  for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
    CAPTURE((*kernels)->isa);
    ThreadPool pool(2);
    Exec exec(**kernels, pool);
    for (const Clip& clip : Clip::All(*golden)) {
      CAPTURE(clip.name);
      const Streamed result = Stream(*encoder, exec, clip);
      REQUIRE_MESSAGE(result.status.ok(), result.status.message());
      REQUIRE(static_cast<int64_t>(result.encoded.size()) == clip.tokens * encoder->hidden());
      CheckClose(result.encoded, Golden<float>(*golden, clip.name + ".encoder"), clip.tokens);
      CheckClose(result.soft, Golden<float>(*golden, clip.name + ".tokens"), clip.tokens);
    }
  }
}

TEST_CASE("the number of threads changes no bit") {
  const auto encoder = Load();
  const auto golden = OpenGguf(kGolden);
  const Clip clip = Clip::All(*golden).front();
  for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
    CAPTURE((*kernels)->isa);
    std::vector<float> one;
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      Exec exec(**kernels, pool);
      const Streamed result = Stream(*encoder, exec, clip);
      REQUIRE(result.status.ok());
      if (threads == 1) one = result.soft;
      CHECK(result.soft == one);
    }
  }
}

TEST_CASE("sound in pieces gives the tokens of the whole clip, bit by bit") {
  const auto golden = OpenGguf(kGolden);
  for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
    CAPTURE((*kernels)->isa);
    ThreadPool pool(2);
    Exec exec(**kernels, pool);
    for (const bool exact : {true, false}) {
      CAPTURE(exact);
      const auto encoder = Load(exact, (*kernels)->isa);
      for (const Clip& clip : Clip::All(*golden)) {
        if (*kernels != ChooseKernels("auto") && clip.name != "audio0") continue;  // one is enough
        const Streamed whole = Stream(*encoder, exec, clip);
        REQUIRE(whole.status.ok());
        for (uint32_t seed = 1; seed <= 3; ++seed) {
          std::mt19937 random(seed);
          // However many frames go through the blocks together.
          const int64_t chunk = std::array{int64_t{1}, AudioStream::kLive, int64_t{11}}[seed - 1];
          const Streamed pieces = Stream(
              *encoder, exec, clip.samples, clip.sample_count, [&] { return 1 + random() % 9000; }, chunk);
          REQUIRE(pieces.status.ok());
          CHECK(pieces.encoded == whole.encoded);
          CHECK(pieces.soft == whole.soft);
        }
      }
    }
  }
}

TEST_CASE("in 8 bits, tokens of recordings are the reference's but for rounding, and alike on every instruction set") {
  const auto golden = OpenGguf(kGolden);
  ThreadPool pool(2);
  for (const Clip& clip : Clip::All(*golden)) {
    CAPTURE(clip.name);
    std::vector<float> first;
    for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
      CAPTURE((*kernels)->isa);
      Exec exec(**kernels, pool);
      const auto encoder = Load(false, (*kernels)->isa);
      const Streamed result = Stream(*encoder, exec, clip);
      REQUIRE(result.status.ok());
      CHECK(MinCosine(result.soft.data(), Golden<float>(*golden, clip.name + ".tokens"), clip.tokens, kTextHidden) >
            kMinCosine);
      if (first.empty()) first = result.soft;
      CHECK(MinCosine(result.soft.data(), first.data(), clip.tokens, kTextHidden) > kMinCosineOfTables);
    }
  }
}

TEST_CASE("tokens come while sound arrives, and stay") {
  const auto encoder = Load();
  const auto golden = OpenGguf(kGolden);
  const Clip clip = Clip::All(*golden).front();
  ThreadPool pool(1);
  Exec exec(*ChooseKernels("auto"), pool);
  auto stream = AudioStream::Start(*encoder, AudioStream::kLive);
  REQUIRE(stream.ok());
  const GgufTensor* mel = golden->Find(clip.name + ".mel");
  const float* frames = Golden<float>(*golden, clip.name + ".mel");
  for (int64_t f = 0; f < mel->rows() - 1; ++f) REQUIRE((*stream)->Feed(exec, frames + f * MelExtractor::kBands).ok());
  const int64_t early = (*stream)->tokens();
  CHECK(early >= 8);
  CHECK(early < clip.tokens);
  const std::vector<float> before = Values((*stream)->soft_tokens());
  REQUIRE((*stream)->Feed(exec, frames + (mel->rows() - 1) * MelExtractor::kBands).ok());
  REQUIRE((*stream)->Finish(exec).ok());
  CHECK((*stream)->tokens() == clip.tokens);
  CHECK(std::equal(before.begin(), before.end(), (*stream)->soft_tokens().data));
  CheckClose(Values((*stream)->soft_tokens()), Golden<float>(*golden, clip.name + ".tokens"), clip.tokens);
}

TEST_CASE("a copy of a stream goes its own way") {
  const auto golden = OpenGguf(kGolden);
  ThreadPool pool(2);
  Exec exec(*ChooseKernels("auto"), pool);
  const auto encoder = Load(false);
  const Clip clip = Clip::All(*golden).front();
  const GgufTensor* mel = golden->Find(clip.name + ".mel");
  const float* frames = Golden<float>(*golden, clip.name + ".mel");
  const auto feed = [&](AudioStream& stream, int64_t begin, int64_t end) {
    for (int64_t f = begin; f < end; ++f) REQUIRE(stream.Feed(exec, frames + f * MelExtractor::kBands).ok());
  };
  const auto whole_of = [&](int64_t end) {
    auto stream = AudioStream::Start(*encoder, AudioStream::kLive);
    REQUIRE(stream.ok());
    feed(**stream, 0, end);
    REQUIRE((*stream)->Finish(exec).ok());
    return Values((*stream)->soft_tokens());
  };
  auto stream = AudioStream::Start(*encoder, AudioStream::kLive),
       copy = AudioStream::Start(*encoder, AudioStream::kLive);
  REQUIRE(stream.ok());
  REQUIRE(copy.ok());
  int64_t at = 0;
  for (const int64_t cut : {mel->rows() / 3, mel->rows() * 3 / 4}) {
    feed(**stream, at, cut);
    at = cut;
    REQUIRE((*copy)->Assign(**stream).ok());
    REQUIRE((*copy)->Finish(exec).ok());
    CHECK(Values((*copy)->soft_tokens()) == whole_of(cut));
  }
  feed(**stream, at, mel->rows());
  REQUIRE((*stream)->Finish(exec).ok());
  CHECK(Values((*stream)->soft_tokens()) == whole_of(mel->rows()));
}

TEST_CASE("Encode fills the rows behind the clip with the last hard token") {
  const auto encoder = Load();
  const auto golden = OpenGguf(kGolden);
  const Clip clip = Clip::All(*golden).front();
  ThreadPool pool(2);
  Exec exec(*ChooseKernels("auto"), pool);
  std::vector<float> out(AudioEncoder::kSoftTokens * kTextHidden), padding(kTextHidden);
  int64_t valid = 0;
  const MatF rows(out.data(), AudioEncoder::kSoftTokens, kTextHidden);
  REQUIRE(encoder->Encode(exec, clip.samples, clip.sample_count, rows, &valid).ok());
  CHECK(valid == clip.tokens);
  const Streamed streamed = Stream(*encoder, exec, clip);
  CHECK(std::equal(streamed.soft.begin(), streamed.soft.end(), out.begin()));
  REQUIRE(encoder->embedder().EmbedHard(exec, encoder->embedder().vocab_size() - 1, padding.data()).ok());
  for (int64_t t = valid; t < rows.rows; ++t) CHECK(std::equal(padding.begin(), padding.end(), rows.row(t)));
}

TEST_CASE("the shortest and the longest clip") {
  const auto encoder = Load();
  ThreadPool pool(2);
  Exec exec(*ChooseKernels("auto"), pool);
  std::vector<float> samples(MelExtractor::kMaxSamples + 1);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = 0.3f * std::sin(0.02f * static_cast<float>(i % 1000));
  std::vector<float> out(AudioEncoder::kSoftTokens * kTextHidden);
  const MatF rows(out.data(), AudioEncoder::kSoftTokens, kTextHidden);
  int64_t valid = 0;
  CHECK(encoder->Encode(exec, samples.data(), 512, rows, &valid).code() == Code::AUDIO_INVALID);
  REQUIRE(encoder->Encode(exec, samples.data(), 513, rows, &valid).ok());
  CHECK(valid == 1);
  REQUIRE(encoder->Encode(exec, samples.data(), MelExtractor::kMaxSamples, rows, &valid).ok());
  CHECK(valid == AudioEncoder::kSoftTokens);
  for (const float value : out) REQUIRE(std::isfinite(value));
  CHECK(encoder->Encode(exec, samples.data(), MelExtractor::kMaxSamples + 1, rows, &valid).code() ==
        Code::AUDIO_INVALID);
  CHECK(encoder->Encode(exec, samples.data(), 16000, rows.Rows(0, 187), &valid).code() == Code::INTERNAL);
}

TEST_CASE("a stream takes no more frames than a clip has") {
  const auto encoder = Load();
  ThreadPool pool(2);
  Exec exec(*ChooseKernels("auto"), pool);
  auto stream = AudioStream::Start(*encoder, AudioStream::kLive);
  REQUIRE(stream.ok());
  const std::vector<float> silence(MelExtractor::kBands, -11.5f);
  for (int64_t f = 0; f < kMaxAudioFrames; ++f) REQUIRE((*stream)->Feed(exec, silence.data()).ok());
  CHECK((*stream)->Feed(exec, silence.data()).code() == Code::AUDIO_INVALID);
}

// The bytes of the model with every occurrence of `from` replaced by `to`, of the same length.
std::string Replaced(std::string bytes, const std::string& from, const std::string& to) {
  REQUIRE(from.size() == to.size());
  size_t found = 0;
  for (size_t at = 0; (at = bytes.find(from, at)) != std::string::npos; at += to.size(), ++found)
    bytes.replace(at, to.size(), to);
  REQUIRE(found > 0);
  return bytes;
}

std::string ModelBytes() {
  std::ifstream in(kModel, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

Code LoadCode(const std::string& bytes) {
  const auto file = GgufFile::Parse(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (!file.ok()) return file.status().code();
  return AudioEncoder::Load(*file, kTextHidden).status().code();
}

// A copy of the model in which a number after `key` (name, u32 type, value) is another.
template <typename T>
std::string WithKey(std::string bytes, const std::string& key, T value) {
  const size_t at = bytes.find(key);
  REQUIRE(at != std::string::npos);
  std::memcpy(bytes.data() + at + key.size() + sizeof(uint32_t), &value, sizeof value);
  return bytes;
}

// A copy of the model in which dimension `d` of a tensor (name, u32 rank, u64 dims) is another.
std::string WithDim(std::string bytes, const std::string& tensor, int d, uint64_t value) {
  const size_t at = bytes.find(tensor);
  REQUIRE(at != std::string::npos);
  std::memcpy(bytes.data() + at + tensor.size() + sizeof(uint32_t) + static_cast<size_t>(d) * sizeof(uint64_t), &value,
              sizeof value);
  return bytes;
}

TEST_CASE("a model whose parts do not fit is refused") {
  const std::string bytes = ModelBytes();
  REQUIRE(LoadCode(bytes) == Code::kOk);
  for (const char* tensor :
       {"a.conv1d.0.weight", "a.conv1d.1.norm.weight", "a.input_projection.weight", "a.blk.0.attn_q.weight",
        "a.blk.0.per_dim_scale.weight", "a.blk.1.ffn_up.weight", "a.blk.1.ffn_down_1.weight", "a.blk.2.conv_dw.weight",
        "a.blk.3.layer_pre_norm.weight", "a.blk.3.attn_q.weight", "mm.a.embedding.weight"}) {
    CAPTURE(tensor);
    std::string other = tensor;
    other[0] = 'x';
    CHECK(LoadCode(Replaced(bytes, tensor, other)) == Code::MODEL_INCOMPLETE);
  }
  CHECK(LoadCode(WithDim(bytes, "a.conv1d.0.weight", 0, 1)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithDim(bytes, "a.conv1d.1.weight", 2, 1)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithDim(bytes, "a.blk.0.attn_q.weight", 0, 32)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithDim(bytes, "a.blk.0.per_dim_scale.weight", 0, 24)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithDim(bytes, "a.blk.2.conv_dw.weight", 0, 3)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithDim(bytes, "a.blk.3.ffn_down.weight", 1, 64)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithKey<uint32_t>(bytes, "clip.audio.block_count", 5)) == Code::MODEL_INCOMPLETE);
  CHECK(LoadCode(WithKey<uint32_t>(bytes, "clip.audio.attention.head_count", 8)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithKey<uint32_t>(bytes, "hearth.audio.context_right", 1)) == Code::MODEL_UNSUPPORTED);
  CHECK(LoadCode(WithKey<uint32_t>(bytes, "hearth.audio.context_left", 0)) == Code::GGUF_MALFORMED);
  CHECK(LoadCode(WithKey<uint32_t>(bytes, "hearth.audio.context_left", 1u << 30)) == Code::GGUF_MALFORMED);
  CHECK(LoadCode(WithKey<uint32_t>(bytes, "hearth.audio.reduction_factor", 1)) == Code::GGUF_MALFORMED);
  CHECK(LoadCode(WithKey<float>(bytes, "hearth.audio.logit_cap", 0.0f)) == Code::MODEL_MISMATCH);
  CHECK(LoadCode(WithKey<float>(bytes, "hearth.audio.group_norm_eps", NAN)) == Code::GGUF_MALFORMED);
  CHECK(AudioEncoder::Load(OpenGguf(kModel), kTextHidden + 1).status().code() == Code::MODEL_MISMATCH);
}

TEST_CASE("weights of any value end in numbers, not in a crash") {
  std::string bytes = ModelBytes();
  const auto file = GgufFile::Parse(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  REQUIRE(file.ok());
  std::mt19937 random(6);
  for (const GgufTensor& tensor : (*file)->tensors()) {  // the file sees the same bytes
    if (tensor.name.rfind("a.", 0) != 0) continue;
    for (uint64_t i = 0; i < tensor.bytes; ++i) const_cast<uint8_t*>(tensor.data)[i] = static_cast<uint8_t>(random());
  }
  ThreadPool pool(1);
  Exec exec(*ChooseKernels("auto"), pool);
  for (const bool exact : {true, false}) {
    auto encoder = AudioEncoder::Load(*file, kTextHidden);
    REQUIRE(encoder.ok());
    REQUIRE((*encoder)->Prepare(exec, exact).ok());
    const std::vector<float> samples(16000, 0.1f);
    std::vector<float> out(AudioEncoder::kSoftTokens * kTextHidden);
    const MatF rows(out.data(), AudioEncoder::kSoftTokens, kTextHidden);
    int64_t valid = 0;
    CHECK((*encoder)->Encode(exec, samples.data(), 16000, rows, &valid).ok());
    CHECK(valid == 7);
  }
}

}  // namespace
}  // namespace hearth
