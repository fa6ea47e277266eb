// The GGUF reader against files that are broken, lying or hostile: a Status each time, never a crash.
#include "addon/gguf/gguf.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "addon/model/decoder_workspace.h"
#include "addon/model/text_decoder.h"
#include "addon/text/tokenizer.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

// Writes GGUF by hand, so that a test can lie at any point.
class Bytes {
 public:
  template <typename T>
  Bytes& Put(T value) {
    const auto* from = reinterpret_cast<const uint8_t*>(&value);
    data.insert(data.end(), from, from + sizeof value);
    return *this;
  }
  Bytes& String(const std::string& text) { return Put<uint64_t>(text.size()).Raw(text.data(), text.size()); }
  Bytes& Raw(const void* from, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(from);
    data.insert(data.end(), bytes, bytes + size);
    return *this;
  }
  Bytes& Header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    return Raw("GGUF", 4).Put(version).Put(tensors).Put(keys);
  }
  Bytes& Tensor(const std::string& name, std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    String(name).Put(static_cast<uint32_t>(dims.size()));
    for (uint64_t dim : dims) Put(dim);
    return Put(type).Put(offset);
  }
  Bytes& Pad() {
    data.resize((data.size() + 31) / 32 * 32);
    return *this;
  }

  std::vector<uint8_t> data;
};

Code CodeOf(const Bytes& bytes) { return GgufFile::Parse(bytes.data.data(), bytes.data.size()).status().code(); }

constexpr uint32_t kU32 = 4, kF32Key = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10;

}  // namespace

TEST_CASE("a small file reads back") {
  Bytes b;
  b.Header(1, 5);
  b.String("n").Put(kU32).Put<uint32_t>(7);
  b.String("name").Put(kString).String("tiny");
  b.String("list").Put(kArray).Put(kString).Put<uint64_t>(2).String("a").String("");
  b.String("eps").Put(kF32Key).Put(0.5f);
  b.String("yes").Put(kBool).Put<uint8_t>(1);
  b.Tensor("w", {2, 3}, HEARTH_F32, 0).Pad();
  for (int i = 0; i < 6; ++i) b.Put(static_cast<float>(i));
  const auto file = GgufFile::Parse(b.data.data(), b.data.size());
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  CHECK(file.value()->Int("n", 0, 10).value() == 7);
  CHECK(file.value()->Int("n", 0, 6).status().code() == Code::GGUF_MALFORMED);
  CHECK(file.value()->Int("m", 0, 6).status().code() == Code::MODEL_INCOMPLETE);
  CHECK(file.value()->IntOr("m", 3, 0, 6).value() == 3);
  CHECK(file.value()->StringOr("name", "").value() == "tiny");
  CHECK(file.value()->StringOr("n", "").status().code() == Code::GGUF_MALFORMED);
  CHECK(file.value()->Strings("list").value() == std::vector<std::string_view>{"a", ""});
  CHECK(file.value()->FloatOr("eps", 0).value() == 0.5);
  CHECK(file.value()->BoolOr("yes", false).value());
  const GgufTensor* w = file.value()->Find("w");
  REQUIRE(w != nullptr);
  CHECK(w->rows() == 3);
  CHECK(w->cols() == 2);
  CHECK(reinterpret_cast<const float*>(w->data)[5] == 5.0f);
  CHECK(file.value()->Require("v").status().message().find("\"v\"") != std::string::npos);
}

TEST_CASE("lies of a header are found out") {
  CHECK(CodeOf(Bytes()) == Code::GGUF_TRUNCATED);
  CHECK(CodeOf(Bytes().Raw("GGML", 4)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 0, 1)) == Code::GGUF_UNSUPPORTED);
  CHECK(CodeOf(Bytes().Header(0, 0)) == Code::kOk);
  CHECK(CodeOf(Bytes().Header(UINT64_MAX, 0)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, UINT64_MAX)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 1).Put<uint64_t>(UINT64_MAX)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 1).String("s").Put(kString).Put<uint64_t>(UINT64_MAX)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 1).String("a").Put(kArray).Put(kU64).Put<uint64_t>(UINT64_MAX / 4)) ==
        Code::GGUF_TRUNCATED);
  CHECK(CodeOf(Bytes().Header(0, 1).String("a").Put(kArray).Put(kString).Put<uint64_t>(UINT64_MAX)) ==
        Code::GGUF_TRUNCATED);
  CHECK(CodeOf(Bytes().Header(0, 1).String("a").Put(kArray).Put(kArray).Put<uint64_t>(1)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 1).String("a").Put<uint32_t>(99).Put<uint64_t>(1)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 2).String("k").Put(kU32).Put(1).String("k").Put(kU32).Put(1)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 1).String("general.alignment").Put(kU32).Put<uint32_t>(48)) == Code::GGUF_MALFORMED);
  CHECK(CodeOf(Bytes().Header(0, 1).String("general.alignment").Put(kU32).Put<uint32_t>(0)) == Code::GGUF_MALFORMED);
}

TEST_CASE("lies of a tensor are found out") {
  const auto tensor = [](std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    Bytes b;
    b.Header(1, 0).Tensor("w", std::move(dims), type, offset).Pad();
    b.data.resize(b.data.size() + 128);
    return CodeOf(b);
  };
  CHECK(tensor({32}, HEARTH_F32, 0) == Code::kOk);
  CHECK(tensor({33}, HEARTH_F32, 0) == Code::GGUF_TRUNCATED);
  CHECK(tensor({32}, HEARTH_F32, 32) == Code::GGUF_TRUNCATED);
  CHECK(tensor({8}, HEARTH_F32, 96) == Code::kOk);
  CHECK(tensor({8}, HEARTH_F32, 97) == Code::GGUF_MALFORMED);
  CHECK(tensor({8}, HEARTH_F32, UINT64_MAX - 31) == Code::GGUF_TRUNCATED);
  CHECK(tensor({}, HEARTH_F32, 0) == Code::GGUF_MALFORMED);
  CHECK(tensor({1, 1, 1, 1, 1}, HEARTH_F32, 0) == Code::GGUF_MALFORMED);
  CHECK(tensor({0}, HEARTH_F32, 0) == Code::GGUF_MALFORMED);
  CHECK(tensor({1ull << 32, 1ull << 32}, HEARTH_F32, 0) == Code::GGUF_MALFORMED);
  CHECK(tensor({1ull << 62}, HEARTH_F32, 0) == Code::GGUF_TRUNCATED);
  CHECK(tensor({31}, HEARTH_Q8_0, 0) == Code::GGUF_MALFORMED);
  CHECK(tensor({32}, HEARTH_Q8_0, 0) == Code::kOk);
  CHECK(tensor({32}, HEARTH_Q5_1, 0) == Code::kOk);
  CHECK(tensor({128}, HEARTH_Q4_K, 0) == Code::GGUF_MALFORMED);
  CHECK(tensor({256}, HEARTH_Q4_K, 0) == Code::GGUF_TRUNCATED);  // 144 bytes
  CHECK(tensor({257, 256}, HEARTH_Q6_K, 0) == Code::GGUF_MALFORMED);
  CHECK(tensor({32}, 9999, 0) == Code::GGUF_UNSUPPORTED);
  Bytes twice;
  twice.Header(2, 0).Tensor("w", {1}, HEARTH_F32, 0).Tensor("w", {1}, HEARTH_F32, 0).Pad();
  twice.data.resize(twice.data.size() + 32);
  CHECK(CodeOf(twice) == Code::GGUF_MALFORMED);
}

TEST_CASE("files that are not there, or not files") {
  CHECK(GgufFile::Open("no/such/file.gguf").status().code() == Code::FILE_NOT_FOUND);
  CHECK(GgufFile::Open("test").status().code() == Code::FILE_NOT_FOUND);
  CHECK(GgufFile::Open("/dev/null").status().code() == Code::FILE_NOT_FOUND);
}

TEST_CASE("every truncation of the metadata is a Status") {
  std::ifstream in("test/fixtures/models/e2b-narrow.gguf", std::ios::binary);
  const std::vector<uint8_t> whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (size_t size = 0; size < 60'000; size += 997) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<int64_t>(size));
    CHECK_FALSE(GgufFile::Parse(cut.data(), cut.size()).ok());
  }
  const std::vector<uint8_t> cut(whole.begin(), whole.end() - 1);
  CHECK(GgufFile::Parse(cut.data(), cut.size()).status().code() == Code::GGUF_TRUNCATED);
}

// Whatever still loads must also run: flipped weights may be any number, but nothing may crash or read out of bounds.
TEST_CASE("200 mutated model files: an error or a running model, never a crash") {
  std::ifstream in("test/fixtures/models/e2b-narrow.gguf", std::ios::binary);
  const std::vector<uint8_t> whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  REQUIRE(whole.size() > 100'000);
  const size_t metadata = 60'000;
  int loaded = 0, refused = 0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes = whole;
    const int flips = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < flips; ++i) {
      const size_t at = random() % (seed % 4 == 3 ? bytes.size() : metadata);
      switch (random() % 4) {
        case 0:
          bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
          break;
        case 1:
          bytes[at] = static_cast<uint8_t>(random());
          break;
        case 2:
          bytes[at] = 0xff;
          break;
        default:  // a number turned into another one
          if (at + 8 <= bytes.size()) {
            const uint64_t value = random() % 2 == 0 ? random() % 70'000 : ~0ull >> random() % 64;
            std::memcpy(&bytes[at], &value, 8);
          }
      }
    }
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    CAPTURE(seed);
    const auto file = GgufFile::Parse(bytes.data(), bytes.size());
    if (file.ok()) {
      (void)Tokenizer::Load(*file.value());
      auto decoder = TextDecoder::Load(file.value());
      if (decoder.ok()) {
        ++loaded;
        const Config& config = (*decoder)->config();
        ThreadPool pool(1);
        Exec exec(*AvailableKernels()[0], pool);
        TextDecoder::Workspace workspace;
        REQUIRE(workspace.Allocate(config).ok());
        KvCache cache(config, HEARTH_F32, 64);
        const int32_t ids[] = {0, 1, 2, 3};
        std::vector<float> embedding(static_cast<size_t>(4 * config.hidden)), logits(static_cast<size_t>(config.vocab));
        if (config.text_vocab < 4) continue;
        for (int i = 0; i < 4; ++i)
          (*decoder)->EmbedToken(exec.kernels(), ids[i], embedding.data() + i * config.hidden);
        CHECK((*decoder)
                  ->Forward(exec, Slice::Full(config), {ConstMatF(embedding.data(), 4, config.hidden), ids, 0, 1},
                            cache, workspace, MatF(logits.data(), 1, config.vocab), nullptr)
                  .ok());
        continue;
      }
      CHECK_FALSE(decoder.status().message().empty());
    } else {
      CHECK_FALSE(file.status().message().empty());
    }
    ++refused;
  }
  CHECK(loaded + refused == 200);
  CHECK(loaded > 10);
  CHECK(refused > 50);
}

}  // namespace hearth
