// The vision encoder against Hugging Face + timm on the small trained model, and against model files that are wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "addon/model/vision_encoder.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::Golden;
using test::MaxDifference;
using test::MinCosine;
using test::OpenGguf;

constexpr int64_t kTokens = VisionEncoder::kSoftTokens;

std::unique_ptr<VisionEncoder> Nano() {
  const auto file = OpenGguf("daemon/demo/model/mmproj-nano.gguf");
  auto encoder = VisionEncoder::Load(file, file->Find("mm.input_projection.weight")->rows());
  REQUIRE_MESSAGE(encoder.ok(), encoder.status().message());
  return std::move(*encoder);
}

// The golden picture, [3, S, S] of bytes or of floats in [0, 1], as [S, S, 3] floats.
std::vector<float> GoldenPixels(const GgufFile& golden, const std::string& name, int64_t* size) {
  const GgufTensor* tensor = golden.Find(name);
  REQUIRE_MESSAGE(tensor != nullptr, name);
  *size = tensor->dims[0];
  const int64_t plane = *size * *size;
  std::vector<float> pixels(static_cast<size_t>(plane * 3));
  for (int64_t c = 0; c < 3; ++c) {
    for (int64_t p = 0; p < plane; ++p) {
      const int64_t at = c * plane + p;
      pixels[static_cast<size_t>(p * 3 + c)] =
          tensor->type == HEARTH_I32
              ? static_cast<float>(reinterpret_cast<const int32_t*>(tensor->data)[at]) * (1.0f / 255.0f)
              : reinterpret_cast<const float*>(tensor->data)[at];
    }
  }
  return pixels;
}

float LargestOf(const float* values, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

// A GGUF file of tensors alone, made by hand so that any of them can be wrong.
struct ModelFile {
  struct Entry {
    std::vector<int64_t> shape;  // PyTorch's order
    uint32_t type = HEARTH_F32;
    std::vector<uint8_t> bytes;
  };
  std::map<std::string, Entry> tensors;
  mutable std::vector<uint8_t> image;  // what was parsed last

  void Add(const std::string& name, std::vector<int64_t> shape, float mean = 0) {
    int64_t n = 1;
    for (int64_t side : shape) n *= side;
    std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(name)));
    std::normal_distribution<float> normal(mean, mean == 0 ? 1 / std::sqrt(static_cast<float>(n / shape[0])) : 0.1f);
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = normal(random);
    Entry entry{std::move(shape), HEARTH_F32, std::vector<uint8_t>(values.size() * 4)};
    std::memcpy(entry.bytes.data(), values.data(), entry.bytes.size());
    tensors[name] = std::move(entry);
  }
  void AddNorm(const std::string& name, int64_t n) { Add(name, {n}, 1); }

  StatusOr<std::shared_ptr<const GgufFile>> Parse() const {
    image.clear();
    const auto put = [&](const void* from, size_t size) {
      image.insert(image.end(), static_cast<const uint8_t*>(from), static_cast<const uint8_t*>(from) + size);
    };
    const auto number = [&](auto value) { put(&value, sizeof value); };
    const auto pad = [](uint64_t size) { return (size + 31) / 32 * 32; };
    put("GGUF", 4);
    number(uint32_t{3});
    number(static_cast<uint64_t>(tensors.size()));
    number(uint64_t{0});
    uint64_t offset = 0;
    for (const auto& [name, entry] : tensors) {
      number(static_cast<uint64_t>(name.size()));
      put(name.data(), name.size());
      number(static_cast<uint32_t>(entry.shape.size()));
      for (size_t d = entry.shape.size(); d-- > 0;) number(static_cast<uint64_t>(entry.shape[d]));
      number(entry.type);
      number(offset);
      offset += pad(entry.bytes.size());
    }
    image.resize(pad(image.size()));
    for (const auto& [name, entry] : tensors) {
      put(entry.bytes.data(), entry.bytes.size());
      image.resize(pad(image.size()));
    }
    return GgufFile::Parse(image.data(), image.size());
  }

  Status Load(std::unique_ptr<VisionEncoder>* encoder = nullptr, int64_t text_hidden = 6) const {
    HEARTH_ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> file, Parse());
    HEARTH_ASSIGN_OR_RETURN(std::unique_ptr<VisionEncoder> loaded, VisionEncoder::Load(std::move(file), text_hidden));
    if (encoder != nullptr) *encoder = std::move(loaded);
    return Status();
  }
};

void AddInverted(ModelFile& m, const std::string& p, int64_t in, int64_t mid, int64_t out, int start, int middle) {
  if (start > 0) {
    m.Add(p + "dw_start.conv.weight", {in, 1, start, start});
    m.AddNorm(p + "dw_start.bn.weight", in);
  }
  m.Add(p + "pw_exp.conv.weight", {mid, in});
  m.AddNorm(p + "pw_exp.bn.weight", mid);
  if (middle > 0) {
    m.Add(p + "dw_mid.conv.weight", {mid, 1, middle, middle});
    m.AddNorm(p + "dw_mid.bn.weight", mid);
  }
  m.Add(p + "pw_proj.conv.weight", {out, mid});
  m.AddNorm(p + "pw_proj.bn.weight", out);
}

// Two stages that have every kind of block and every optional part. Inner widths are multiples of 32 (`w`), so that all
// element types apply.
ModelFile Small(int64_t w = 32) {
  ModelFile m;
  m.Add("v.conv_stem.conv.weight", {w, 3, 3, 3});
  m.Add("v.conv_stem.conv.bias", {1, w, 1, 1});
  m.AddNorm("v.conv_stem.bn.weight", w);
  m.Add("v.blk.0.0.conv_exp.weight", {w, w, 3, 3});
  m.AddNorm("v.blk.0.0.bn1.weight", w);
  m.Add("v.blk.0.0.conv_pwl.weight", {w, w});
  m.AddNorm("v.blk.0.0.bn2.weight", w);
  AddInverted(m, "v.blk.1.0.", w, 2 * w, 2 * w, 3, 5);
  m.AddNorm("v.blk.1.0.layer_scale.gamma", 2 * w);
  AddInverted(m, "v.blk.1.1.", 2 * w, 2 * w, 2 * w, 3, 0);
  for (const std::string part : {"key", "value"}) {
    m.Add("v.blk.1.2.attn." + part + ".down_conv.weight", {2 * w, 1, 3, 3});
    m.AddNorm("v.blk.1.2.attn." + part + ".norm.weight", 2 * w);
    m.Add("v.blk.1.2.attn." + part + ".proj.weight", {w, 2 * w});
  }
  m.AddNorm("v.blk.1.2.norm.weight", 2 * w);
  m.Add("v.blk.1.2.attn.query.proj.weight", {3 * w, 2 * w});
  m.Add("v.blk.1.2.attn.output.proj.weight", {2 * w, 3 * w});
  m.AddNorm("v.blk.1.2.layer_scale.gamma", 2 * w);
  AddInverted(m, "v.msfa.ffn.", 3 * w, 2 * w, w, 0, 0);
  m.AddNorm("v.msfa.norm.weight", w);
  m.Add("mm.input_projection.weight", {6, w});
  m.Add("mm.embedding.weight", {4, w});
  m.AddNorm("mm.soft_emb_norm.weight", w);
  m.AddNorm("mm.hard_emb_norm.weight", w);
  return m;
}

const char* const kOptional[] = {"v.conv_stem.conv.bias", "v.blk.1.0.layer_scale.gamma", "v.blk.1.2.layer_scale.gamma"};

// The embedded tokens of a made-up picture.
std::vector<float> TokensOf(const ModelFile& model, int64_t size = 64, bool packed = false,
                            const hearth_kernels& kernels = hearth_kernels_scalar) {
  std::unique_ptr<VisionEncoder> encoder;
  const Status loaded = model.Load(&encoder);
  REQUIRE_MESSAGE(loaded.ok(), loaded.message());
  ThreadPool pool(2);
  if (packed) REQUIRE(encoder->Pack(kernels, pool).ok());
  Exec exec(kernels, pool);
  std::vector<uint8_t> rgb(50 * 40 * 3);
  std::mt19937 random(3);
  for (uint8_t& byte : rgb) byte = static_cast<uint8_t>(random());
  std::vector<float> tokens(static_cast<size_t>(kTokens * 6), NAN);
  const Status status = encoder->Encode(exec, RgbView{rgb.data(), 50, 40}, size, MatF(tokens.data(), kTokens, 6));
  REQUIRE_MESSAGE(status.ok(), status.message());
  for (float v : tokens) REQUIRE(std::isfinite(v));
  return tokens;
}

bool IsPointwise(const std::string& name, const ModelFile::Entry& entry) {
  return entry.shape.size() == 2 && name.compare(0, 2, "v.") == 0;
}

}  // namespace

TEST_CASE("features and soft tokens are the reference's, on every ISA, whatever the number of threads") {
  const auto golden = OpenGguf("test/fixtures/models/nano.golden.gguf");
  const auto encoder = Nano();
  const int64_t hidden = encoder->hidden(), text_hidden = encoder->embedder().text_hidden();
  int pictures = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string name = "image" + std::to_string(i);
    if (golden->Find(name + ".pixels") == nullptr) continue;
    ++pictures;
    int64_t size = 0;
    const std::vector<float> pixels = GoldenPixels(*golden, name + ".pixels", &size);
    const float* truth = Golden<float>(*golden, name + ".encoder");  // [hidden, 16, 16], x sqrt(hidden)
    std::vector<float> true_features(static_cast<size_t>(kTokens * hidden));
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t c = 0; c < hidden; ++c) true_features[static_cast<size_t>(t * hidden + c)] = truth[c * kTokens + t];
    }
    const float* true_tokens = Golden<float>(*golden, name + ".tokens");
    for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
      std::vector<float> of_one_thread;
      for (int threads : {1, 2, 3}) {
        CAPTURE(name);
        CAPTURE((*kernels)->isa);
        CAPTURE(threads);
        ThreadPool pool(threads);
        Exec exec(**kernels, pool);
        std::vector<float> features(static_cast<size_t>(kTokens * hidden)),
            tokens(static_cast<size_t>(kTokens * text_hidden));
        const MatF rows(features.data(), kTokens, hidden);
        REQUIRE(encoder->EncodePixels(exec, pixels.data(), size, rows).ok());
        REQUIRE(encoder->EmbedFeatures(exec, rows, MatF(tokens.data(), kTokens, text_hidden)).ok());
        CHECK(MinCosine(features.data(), true_features.data(), kTokens, hidden) >= 0.999999);
        CHECK(MaxDifference(features.data(), true_features.data(), kTokens * hidden) <=
              1e-5f * LargestOf(truth, kTokens * hidden));
        CHECK(MinCosine(tokens.data(), true_tokens, kTokens, text_hidden) >= 0.999999);
        CHECK(MaxDifference(tokens.data(), true_tokens, kTokens * text_hidden) <=
              1e-5f * LargestOf(true_tokens, kTokens * text_hidden));
        if (of_one_thread.empty()) of_one_thread = tokens;
        CHECK(tokens == of_one_thread);
      }
    }
  }
  CHECK(pictures > 0);
}

TEST_CASE("in 8 bits: close to the reference on every ISA, the same bits whatever the number of threads") {
  const auto golden = OpenGguf("test/fixtures/models/nano.golden.gguf");
  for (int i = 0; i < 10; ++i) {
    const std::string name = "image" + std::to_string(i);
    if (golden->Find(name + ".pixels") == nullptr) continue;
    int64_t size = 0;
    const std::vector<float> pixels = GoldenPixels(*golden, name + ".pixels", &size);
    const float* truth = Golden<float>(*golden, name + ".tokens");
    for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
      std::vector<float> of_one_thread;
      for (int threads : {1, 2, 3}) {
        CAPTURE(name);
        CAPTURE((*kernels)->isa);
        CAPTURE(threads);
        ThreadPool pool(threads);
        Exec exec(**kernels, pool);
        const auto encoder = Nano();
        REQUIRE(encoder->Pack(**kernels, pool).ok());
        const int64_t hidden = encoder->hidden(), text_hidden = encoder->embedder().text_hidden();
        std::vector<float> features(static_cast<size_t>(kTokens * hidden)),
            tokens(static_cast<size_t>(kTokens * text_hidden));
        const MatF rows(features.data(), kTokens, hidden);
        REQUIRE(encoder->EncodePixels(exec, pixels.data(), size, rows).ok());
        REQUIRE(encoder->EmbedFeatures(exec, rows, MatF(tokens.data(), kTokens, text_hidden)).ok());
        CHECK(MinCosine(tokens.data(), truth, kTokens, text_hidden) >= 0.995);
        // Something was rounded at all.
        CHECK(MaxDifference(tokens.data(), truth, kTokens * text_hidden) >
              1e-4f * LargestOf(truth, kTokens * text_hidden));
        if (of_one_thread.empty()) of_one_thread = tokens;
        CHECK(tokens == of_one_thread);
      }
    }
  }
}

TEST_CASE("in 8 bits: maps that are computed a band at a time") {
  ThreadPool pool(2);
  Exec exec(*ChooseKernels(""), pool);
  const auto exact = Nano(), packed = Nano();
  REQUIRE(packed->Pack(exec.kernels(), pool).ok());
  const int64_t text_hidden = exact->embedder().text_hidden();
  std::vector<uint8_t> rgb(90 * 70 * 3);
  std::mt19937 random(3);
  for (uint8_t& byte : rgb) byte = static_cast<uint8_t>(random());
  for (const int64_t size : {544, 768}) {  // two bands and three
    CAPTURE(size);
    std::vector<float> a(static_cast<size_t>(kTokens * text_hidden)), b(a.size());
    REQUIRE(exact->Encode(exec, RgbView{rgb.data(), 90, 70}, size, MatF(a.data(), kTokens, text_hidden)).ok());
    REQUIRE(packed->Encode(exec, RgbView{rgb.data(), 90, 70}, size, MatF(b.data(), kTokens, text_hidden)).ok());
    CHECK(MinCosine(a.data(), b.data(), kTokens, text_hidden) >= 0.995);
  }
}

TEST_CASE("in 8 bits: every kind of block, every element type, every size; odd widths stay float32") {
  for (const hearth_kernels* const* kernels = AvailableKernels(); *kernels != nullptr; ++kernels) {
    CAPTURE((*kernels)->isa);
    for (const int64_t size : {32, 64, 160}) {
      CAPTURE(size);
      const std::vector<float> exact = TokensOf(Small(), size), packed = TokensOf(Small(), size, true, **kernels);
      CHECK(exact != packed);
      CHECK(MinCosine(exact.data(), packed.data(), kTokens, 6) >= 0.98);  // six values a token average little out
    }
    for (const int64_t width : {1, 17}) {
      CAPTURE(width);
      CHECK(TokensOf(Small(width), 64, true, **kernels) == TokensOf(Small(width), 64, false, **kernels));
    }
  }
  for (const uint32_t type : {HEARTH_F16, HEARTH_BF16, HEARTH_Q8_0}) {
    CAPTURE(BlockTypeName(type));
    ModelFile stored = Small();
    for (auto& [name, entry] : stored.tensors) {
      if (!IsPointwise(name, entry)) continue;
      std::vector<float> values(entry.bytes.size() / 4);
      std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
      const BlockShape block = BlockShapeOf(type);
      const int64_t count = static_cast<int64_t>(values.size());
      entry.bytes.assign(static_cast<size_t>(count / block.values * block.bytes), 0);
      if (type == HEARTH_BF16) {
        for (size_t i = 0; i < values.size(); ++i)
          std::memcpy(&entry.bytes[2 * i], reinterpret_cast<const uint8_t*>(&values[i]) + 2, 2);
      } else {
        (type == HEARTH_F16 ? hearth_kernels_scalar.store_f16 : hearth_kernels_scalar.store_q8_0)(values.data(), count,
                                                                                                  entry.bytes.data());
      }
      entry.type = type;
    }
    const std::vector<float> exact = TokensOf(stored), packed = TokensOf(stored, 64, true);
    CHECK(MinCosine(exact.data(), packed.data(), kTokens, 6) >= 0.98);
  }
}

TEST_CASE("a picture that needs no resize gives the same tokens by way of Encode") {
  const auto golden = OpenGguf("test/fixtures/models/nano.golden.gguf");
  const auto encoder = Nano();
  const int64_t text_hidden = encoder->embedder().text_hidden();
  int64_t size = 0;
  const std::vector<float> pixels = GoldenPixels(*golden, "image0.pixels", &size);
  std::vector<uint8_t> rgb(pixels.size());
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(std::lround(pixels[i] * 255));
  ThreadPool pool(2);
  Exec exec(*ChooseKernels(""), pool);
  std::vector<float> tokens(static_cast<size_t>(kTokens * text_hidden));
  REQUIRE(encoder->Encode(exec, RgbView{rgb.data(), size, size}, size, MatF(tokens.data(), kTokens, text_hidden)).ok());
  const float* truth = Golden<float>(*golden, "image0.tokens");
  CHECK(MaxDifference(tokens.data(), truth, kTokens * text_hidden) <= 1e-5f * LargestOf(truth, kTokens * text_hidden));
}

TEST_CASE("a hard token is its row, normed, projected, normed") {
  const ModelFile model = Small();
  std::unique_ptr<VisionEncoder> encoder;
  REQUIRE(model.Load(&encoder).ok());
  const MultimodalEmbedder& embedder = encoder->embedder();
  REQUIRE(embedder.vocab_size() == 4);
  const auto values = [&](const std::string& name) {
    return reinterpret_cast<const float*>(model.tensors.at(name).bytes.data());
  };
  ThreadPool pool(1);
  Exec exec(hearth_kernels_scalar, pool);
  for (int64_t index = 0; index < 4; ++index) {
    double squares = 0, projected[6] = {}, projected_squares = 0;
    const float* row = values("mm.embedding.weight") + index * 32;
    for (int i = 0; i < 32; ++i) squares += static_cast<double>(row[i]) * row[i];
    for (int o = 0; o < 6; ++o) {
      for (int i = 0; i < 32; ++i) {
        projected[o] += values("mm.input_projection.weight")[o * 32 + i] *
                        (row[i] / std::sqrt(squares / 32 + 1e-6) * values("mm.hard_emb_norm.weight")[i]);
      }
      projected_squares += projected[o] * projected[o];
    }
    float out[6];
    REQUIRE(embedder.EmbedHard(exec, index, out).ok());
    for (int o = 0; o < 6; ++o)
      CHECK(out[o] == doctest::Approx(projected[o] / std::sqrt(projected_squares / 6 + 1e-6)).epsilon(1e-5));
  }
  float out[6];
  CHECK(embedder.EmbedHard(exec, -1, out).code() == Code::TOKEN_INVALID);
  CHECK(embedder.EmbedHard(exec, 4, out).code() == Code::TOKEN_INVALID);
}

TEST_CASE("1x1 convolutions may be stored as PyTorch has them, and in any element type") {
  const std::vector<float> expected = TokensOf(Small());
  ModelFile four_dimensional = Small();
  for (auto& [name, entry] : four_dimensional.tensors) {
    if (IsPointwise(name, entry)) entry.shape = {entry.shape[0], entry.shape[1], 1, 1};
  }
  CHECK(TokensOf(four_dimensional) == expected);

  for (uint32_t type : {HEARTH_F16, HEARTH_BF16, HEARTH_Q8_0, HEARTH_Q4_0}) {
    CAPTURE(BlockTypeName(type));
    // Random blocks on one side, what they stand for in float32 on the other.
    ModelFile packed = Small(), unpacked = Small();
    std::mt19937 random(5);
    for (auto& [name, entry] : packed.tensors) {
      const bool convolution = entry.shape.size() == 4 && name.find("bias") == std::string::npos;
      const BlockShape block = BlockShapeOf(type);
      if (!IsPointwise(name, entry) && !(convolution && block.values == 1)) continue;
      const int64_t cols = entry.shape.back(), rows = static_cast<int64_t>(entry.bytes.size()) / 4 / cols;
      entry.type = type;
      entry.bytes.resize(static_cast<size_t>(rows * cols / block.values * block.bytes));
      for (uint8_t& byte : entry.bytes) byte = static_cast<uint8_t>(random());
      for (size_t at = 0; at < entry.bytes.size(); at += static_cast<size_t>(block.bytes)) {
        const uint16_t sign = random() & 0x8000;
        const uint16_t small = type == HEARTH_BF16  ? 0x3d00
                               : type == HEARTH_F16 ? 0x2c00
                                                    : 0x1800;  // about 0.03, 0.06; a scale of 0.002
        const uint16_t value = static_cast<uint16_t>(sign | (small + random() % 0x100));
        std::memcpy(&entry.bytes[at], &value, 2);
      }
      const Weight weight{entry.bytes.data(), type, rows, cols, cols / block.values * block.bytes};
      for (int64_t r = 0; r < rows; ++r) {
        DequantizeRow(hearth_kernels_scalar, weight, r,
                      reinterpret_cast<float*>(unpacked.tensors[name].bytes.data()) + r * cols);
      }
    }
    const std::vector<float> a = TokensOf(packed), b = TokensOf(unpacked);
    CHECK(MaxDifference(a.data(), b.data(), kTokens * 6) <= 1e-4f);
    CHECK(a != expected);
  }
}

TEST_CASE("optional parts may be absent; everything else is missed by name") {
  const ModelFile whole = Small();
  const std::vector<float> expected = TokensOf(whole);
  for (const auto& [name, entry] : whole.tensors) {
    CAPTURE(name);
    ModelFile part = whole;
    part.tensors.erase(name);
    if (std::find(std::begin(kOptional), std::end(kOptional), name) != std::end(kOptional)) {
      CHECK(TokensOf(part) != expected);
      continue;
    }
    const Status status = part.Load();
    const bool missed = status.code() == Code::MODEL_INCOMPLETE || status.code() == Code::MODEL_UNSUPPORTED;
    CHECK_MESSAGE(missed, status.message());
  }
}

TEST_CASE("a tensor of another shape or type is refused") {
  const ModelFile whole = Small();
  for (const auto& [name, entry] : whole.tensors) {
    for (size_t d = 0; d < entry.shape.size(); ++d) {
      for (int64_t side : {entry.shape[d] + 1, int64_t{1}, int64_t{9000}}) {
        if (side == entry.shape[d]) continue;
        CAPTURE(name);
        CAPTURE(d);
        CAPTURE(side);
        ModelFile changed = whole;
        ModelFile::Entry& other = changed.tensors[name];
        other.shape[d] = side;
        int64_t n = 1;
        for (int64_t s : other.shape) n *= s;
        other.bytes.resize(static_cast<size_t>(n * 4));
        const Status status = changed.Load();
        if (name == "mm.embedding.weight" && d == 0) {
          CHECK(status.ok());  // another number of hard tokens is another vocabulary
        } else {
          const bool refused = status.code() == Code::MODEL_MISMATCH || status.code() == Code::MODEL_UNSUPPORTED;
          CHECK_MESSAGE(refused, status.message());
        }
      }
    }
    CAPTURE(name);
    ModelFile integers = whole;
    integers.tensors[name].type = HEARTH_I32;
    CHECK(integers.Load().code() == Code::MODEL_UNSUPPORTED);
  }
}

TEST_CASE("blocks that do not follow on one another are refused") {
  ModelFile gap = Small();
  AddInverted(gap, "v.blk.1.4.", 64, 64, 64, 0, 0);
  CHECK(gap.Load().code() == Code::MODEL_UNSUPPORTED);
  ModelFile unknown = Small();
  unknown.AddNorm("v.blk.1.1.dw_end.bn.weight", 64);
  CHECK(unknown.Load().message().find("v.blk.1.1.dw_end.bn.weight") != std::string::npos);
  ModelFile no_stride = Small();
  AddInverted(no_stride, "v.blk.2.0.", 64, 64, 64, 0, 0);
  CHECK(no_stride.Load().code() == Code::MODEL_UNSUPPORTED);
  ModelFile attention_first = Small();
  for (const auto& [name, entry] : Small().tensors) {
    if (name.compare(0, 10, "v.blk.1.2.") == 0) attention_first.tensors["v.blk.2.0." + name.substr(10)] = entry;
  }
  CHECK(attention_first.Load().code() == Code::MODEL_UNSUPPORTED);
  ModelFile stages = Small();
  for (int stage = 2; stage < 6; ++stage)
    AddInverted(stages, "v.blk." + std::to_string(stage) + ".0.", 64, 64, 64, 3, 0);
  CHECK(stages.Load().message().find("more than 4 stages") != std::string::npos);
  ModelFile blocks = Small();
  for (int block = 3; block < 300; ++block)
    AddInverted(blocks, "v.blk.1." + std::to_string(block) + ".", 64, 1, 64, 0, 0);
  CHECK(blocks.Load().message().find("more than 256 blocks") != std::string::npos);
  ModelFile one_stage = Small();
  std::erase_if(one_stage.tensors, [](const auto& item) { return item.first.compare(0, 8, "v.blk.1.") == 0; });
  CHECK(one_stage.Load().code() == Code::MODEL_INCOMPLETE);
  CHECK(ModelFile().Load().code() == Code::MODEL_INCOMPLETE);
  CHECK(Small().Load(nullptr, 7).code() == Code::MODEL_MISMATCH);
}

TEST_CASE("the fusion adds nothing back, even where its input is as wide as its output") {
  ModelFile model = Small();
  model.Add("v.msfa.ffn.pw_proj.conv.weight", {96, 64});
  model.tensors["v.msfa.ffn.pw_proj.bn.weight"] = {
      {96}, HEARTH_F32, std::vector<uint8_t>(96 * 4)};  // all that it makes is 0
  model.AddNorm("v.msfa.norm.weight", 96);
  model.Add("mm.input_projection.weight", {6, 96});
  model.Add("mm.embedding.weight", {4, 96});
  model.AddNorm("mm.soft_emb_norm.weight", 96);
  model.AddNorm("mm.hard_emb_norm.weight", 96);
  CHECK(TokensOf(model) == std::vector<float>(static_cast<size_t>(kTokens * 6), 0.0f));
}

TEST_CASE("odd widths and every size work; what is no size or picture is refused") {
  for (int64_t width : {1, 3, 17}) TokensOf(Small(width));
  for (int64_t size : {32, 96, 160}) TokensOf(Small(), size);
  std::unique_ptr<VisionEncoder> encoder;
  const ModelFile model = Small();
  REQUIRE(model.Load(&encoder).ok());
  ThreadPool pool(1);
  Exec exec(hearth_kernels_scalar, pool);
  const std::vector<uint8_t> rgb(12);
  std::vector<float> tokens(static_cast<size_t>(kTokens * 6));
  const MatF out(tokens.data(), kTokens, 6);
  for (int64_t size : {0, -32, 31, 33, 1056, 1 << 30}) {
    CAPTURE(size);
    CHECK(encoder->Encode(exec, RgbView{rgb.data(), 2, 2}, size, out).code() == Code::OPTION_INVALID);
  }
  CHECK(encoder->Encode(exec, RgbView{rgb.data(), 0, 2}, 256, out).code() == Code::IMAGE_INVALID);
}

TEST_CASE("a model whose maps would not fit is refused when it runs, not obeyed") {
  ModelFile wide = Small(8);
  wide.tensors.erase("v.blk.0.0.conv_exp.weight");
  wide.Add("v.blk.0.0.conv_exp.weight", {8000, 8, 1, 1});
  wide.AddNorm("v.blk.0.0.bn1.weight", 8000);
  wide.Add("v.blk.0.0.conv_pwl.weight", {8, 8000});
  std::unique_ptr<VisionEncoder> encoder;
  REQUIRE(wide.Load(&encoder).ok());
  ThreadPool pool(1);
  Exec exec(hearth_kernels_scalar, pool);
  const std::vector<uint8_t> rgb(12);
  std::vector<float> tokens(static_cast<size_t>(kTokens * 6));
  CHECK(encoder->Encode(exec, RgbView{rgb.data(), 2, 2}, 1024, MatF(tokens.data(), kTokens, 6)).code() ==
        Code::OUT_OF_MEMORY);
}

}  // namespace hearth
