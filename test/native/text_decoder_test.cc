// The text decoder against what Hugging Face's implementation computes (test/fixtures/models, made by the reference
// script from random, well-conditioned weights: a difference of 1e-3 in a logit is a wrong term, not rounding).
#include "addon/model/text_decoder.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "addon/model/decoder_workspace.h"
#include "addon/ops/matmul.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::Golden;
using test::MaxDifference;
using test::OpenGguf;

constexpr int64_t kPositions = 50;
constexpr float kLogitBound = 1e-3f;

struct Case {
  std::shared_ptr<const GgufFile> golden;
  std::unique_ptr<TextDecoder> decoder;
  const int32_t* ids;

  static Case Open(const std::string& model, const std::string& golden_path) {
    Case c;
    c.golden = OpenGguf(golden_path);
    StatusOr<std::unique_ptr<TextDecoder>> decoder = TextDecoder::Load(OpenGguf(model));
    REQUIRE_MESSAGE(decoder.ok(), decoder.status().message());
    c.decoder = std::move(*decoder);
    c.ids = Golden<int32_t>(*c.golden, "input_ids");
    return c;
  }
  static Case Fixture(const std::string& name) {
    return Open("test/fixtures/models/" + name + ".gguf", "test/fixtures/models/" + name + ".golden.gguf");
  }
};

// Runs token ids through a decoder of its own cache, a chunk at a time.
class Run {
 public:
  Run(const TextDecoder& decoder, const hearth_kernels& kernels, int threads)
      : decoder_(decoder),
        pool_(threads),
        exec_(kernels, pool_),
        slice_(Slice::Full(decoder.config())),
        cache_(decoder.config(), HEARTH_F32, 2048) {
    REQUIRE(workspace_.Allocate(decoder.config()).ok());
  }

  void SetSlice(Slice slice) { slice_ = std::move(slice); }
  void Rewind(int64_t position) { position_ = position; }

  // The logits of the last `wanted` tokens, [wanted, vocab].
  std::vector<float> Feed(const int32_t* ids, int64_t count, int64_t wanted,
                          const TextDecoder::Observer& observer = nullptr) {
    const Config& config = decoder_.config();
    std::vector<float> embedding(static_cast<size_t>(count * config.hidden)),
        logits(static_cast<size_t>(wanted * config.vocab));
    for (int64_t i = 0; i < count; ++i)
      decoder_.EmbedToken(exec_.kernels(), ids[i], embedding.data() + i * config.hidden);
    const Status status =
        decoder_.Forward(exec_, slice_, {ConstMatF(embedding.data(), count, config.hidden), ids, position_, wanted},
                         cache_, workspace_, MatF(logits.data(), wanted, config.vocab), nullptr, observer);
    REQUIRE_MESSAGE(status.ok(), status.message());
    position_ += count;
    return logits;
  }

  // All kPositions in chunks, logits of every one.
  std::vector<float> All(const int32_t* ids, int64_t chunk) {
    std::vector<float> logits;
    for (int64_t p = 0; p < kPositions; p += chunk) {
      const int64_t count = std::min(chunk, kPositions - p);
      const std::vector<float> part = Feed(ids + p, count, count);
      logits.insert(logits.end(), part.begin(), part.end());
    }
    return logits;
  }

 private:
  const TextDecoder& decoder_;
  ThreadPool pool_;
  Exec exec_;
  Slice slice_;
  KvCache cache_;
  TextDecoder::Workspace workspace_;
  int64_t position_ = 0;
};

int32_t ArgMaxText(const float* logits, int64_t text_vocab) {
  return static_cast<int32_t>(std::max_element(logits, logits + text_vocab) - logits);
}

void CheckGreedy(Run& run, const Case& c, const std::string& golden) {
  const Config& config = c.decoder->config();
  std::vector<float> logits = run.Feed(c.ids, kPositions, 1);
  const int32_t* expected = Golden<int32_t>(*c.golden, golden);
  for (int i = 0; i < 16; ++i) {
    const int32_t token = ArgMaxText(logits.data(), config.text_vocab);
    CHECK(token == expected[i]);
    logits = run.Feed(&token, 1, 1);
  }
}

// Every ISA this machine runs, and 1, 2 and 3 threads: the bound holds, and threads change nothing at all.
void CheckLogits(const Case& c, const Slice& slice, const std::string& golden) {
  const int64_t vocab = c.decoder->config().vocab;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
    CAPTURE((*table)->isa);
    std::vector<float> one_thread;
    for (const int threads : {1, 2, 3}) {
      CAPTURE(threads);
      Run run(*c.decoder, **table, threads);
      run.SetSlice(slice);
      const std::vector<float> logits = run.All(c.ids, kPositions);
      CHECK(MaxDifference(logits.data(), Golden<float>(*c.golden, golden), kPositions * vocab) <= kLogitBound);
      if (threads == 1) one_thread = logits;
      CHECK(logits == one_thread);
    }
  }
}

void CheckCase(const Case& c) {
  const Config& config = c.decoder->config();
  CheckLogits(c, Slice::Full(config), "logits");
  Run run(*c.decoder, *AvailableKernels()[0], 2);
  CheckGreedy(run, c, "greedy");

  const float* active = Golden<float>(*c.golden, "layer_active");
  int layers = 0;
  Run traced(*c.decoder, hearth_kernels_scalar, 1);
  traced.Feed(c.ids, kPositions, kPositions, [&](int layer, ConstMatF stream0) {
    REQUIRE(stream0.rows == kPositions);
    CHECK(MaxDifference(stream0.data, active + layer * kPositions * config.hidden, kPositions * config.hidden) <=
          kLogitBound);
    ++layers;
  });
  CHECK(layers == config.layers);
}

}  // namespace

TEST_CASE("e2b-narrow: logits, state after each layer, greedy continuation") { CheckCase(Case::Fixture("e2b-narrow")); }

TEST_CASE("e4b-narrow: logits, state after each layer, greedy continuation") { CheckCase(Case::Fixture("e4b-narrow")); }

TEST_CASE("e4b-narrow: slices cut at run time equal slices cut into checkpoints") {
  const Case c = Case::Fixture("e4b-narrow");
  const Config& config = c.decoder->config();
  std::vector<int64_t> mixed(35, 128), tail(35, 256);
  for (int i = 4; i < 30; ++i) mixed[static_cast<size_t>(i)] = 256;
  mixed[34] = 256;
  for (int i = 20; i < 35; ++i) tail[static_cast<size_t>(i)] = 128;
  const std::pair<std::string, StatusOr<Slice>> slices[] = {
      {"e2b", Slice::Named(config, "e2b")},
      {"mixed", Slice::Custom(config, mixed, {})},
      {"tail", Slice::Custom(config, tail, {20, 21, 22, 23, 24})},
  };
  for (const auto& [name, slice] : slices) {
    CAPTURE(name);
    REQUIRE_MESSAGE(slice.ok(), slice.status().message());
    CheckLogits(c, slice.value(), "slice." + name + ".logits");
    Run run(*c.decoder, *AvailableKernels()[0], 2);
    run.SetSlice(slice.value());
    CheckGreedy(run, c, "slice." + name + ".greedy");
  }
  CHECK(Slice::Named(config, "e3.59b").value().ffn_width == mixed);
}

TEST_CASE("a slice of the tail leaves the keys and values exact: it may switch from token to token") {
  const Case c = Case::Fixture("e4b-narrow");
  const Config& config = c.decoder->config();
  std::vector<int64_t> widths(35, 256);
  for (int i = 20; i < 35; ++i) widths[static_cast<size_t>(i)] = 128;
  const Slice tail = Slice::Custom(config, widths, {20, 21, 22, 23, 24}).value();
  CHECK(tail.SameKv(Slice::Full(config), config));
  CHECK_FALSE(Slice::Named(config, "e2b").value().SameKv(Slice::Full(config), config));
  Run run(*c.decoder, *AvailableKernels()[0], 2);
  for (int64_t p = 0; p < kPositions; ++p) {
    const bool small = p % 2 == 1;
    run.SetSlice(small ? tail : Slice::Full(config));
    const std::vector<float> logits = run.Feed(c.ids + p, 1, 1);
    const float* expected = Golden<float>(*c.golden, small ? "slice.tail.logits" : "logits") + p * config.vocab;
    CHECK(MaxDifference(logits.data(), expected, config.vocab) <= kLogitBound);
  }
}

TEST_CASE("chunks of 1, 7 and 50, the prefill skip, rewind and redo: the same logits") {
  for (const char* name : {"e2b-narrow", "e4b-narrow"}) {
    CAPTURE(name);
    const Case c = Case::Fixture(name);
    const int64_t vocab = c.decoder->config().vocab;
    Run whole(*c.decoder, *AvailableKernels()[0], 2);
    const std::vector<float> expected = whole.All(c.ids, kPositions);
    const float* last = expected.data() + (kPositions - 1) * vocab;
    for (const int64_t chunk : {1, 7, 50}) {
      CAPTURE(chunk);
      Run run(*c.decoder, *AvailableKernels()[0], 2);
      const std::vector<float> logits = run.All(c.ids, chunk);
      CHECK(MaxDifference(logits.data(), expected.data(), kPositions * vocab) <= 1e-4f);

      // Nobody wants the logits of any but the last token: layers past the cache's writers never run for the others.
      Run skipping(*c.decoder, *AvailableKernels()[0], 2);
      int64_t observed = 0;
      std::vector<float> only;
      for (int64_t p = 0; p < kPositions; p += chunk) {
        const int64_t count = std::min(chunk, kPositions - p);
        only = skipping.Feed(c.ids + p, count, p + count == kPositions, [&](int layer, ConstMatF stream0) {
          if (layer >= c.decoder->config().kv_layers - 1) observed += stream0.rows;
        });
      }
      CHECK(observed == c.decoder->config().layers - c.decoder->config().kv_layers + 1);
      CHECK(MaxDifference(only.data(), last, vocab) <= 1e-4f);
    }
    whole.Rewind(20);
    const std::vector<float> redone = whole.Feed(c.ids + 20, kPositions - 20, 1);
    CHECK(MaxDifference(redone.data(), last, vocab) <= 1e-4f);
  }
}

TEST_CASE("up to kAlikeTokens tokens computed together get the bits that each gets alone") {
  for (const char* name : {"e2b-narrow", "e4b-narrow"}) {
    CAPTURE(name);
    const Case c = Case::Fixture(name);
    const int64_t vocab = c.decoder->config().vocab;
    for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table) {
      CAPTURE((*table)->isa);
      Run alone(*c.decoder, **table, 1);
      const std::vector<float> expected = alone.All(c.ids, 1);
      for (int64_t tokens = 2; tokens <= kAlikeTokens; ++tokens) {
        CAPTURE(tokens);
        Run together(*c.decoder, **table, 1);
        const std::vector<float> logits = together.All(c.ids, tokens);
        CHECK(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)) == 0);

        // After a draft of which nothing was right, too.
        together.Rewind(20);
        together.Feed(c.ids + 5, tokens, tokens);
        together.Rewind(20);
        const std::vector<float> redone = together.Feed(c.ids + 20, tokens, tokens);
        CHECK(std::memcmp(redone.data(), expected.data() + 20 * vocab, redone.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST_CASE("slices that cannot be: an error that says what can") {
  const Case c = Case::Fixture("e4b-narrow");
  const Config& config = c.decoder->config();
  const Status unknown = Slice::Named(config, "e9b").status();
  CHECK(unknown.code() == Code::SLICE_INVALID);
  CHECK(unknown.message().find("e3.59b") != std::string::npos);
  CHECK(Slice::Custom(config, std::vector<int64_t>(34, 128), {}).status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Custom(config, std::vector<int64_t>(35, 0), {}).status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Custom(config, std::vector<int64_t>(35, 100), {}).status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Custom(config, std::vector<int64_t>(35, 512), {}).status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Custom(config, std::vector<int64_t>(35, 128), {19}).status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Custom(config, std::vector<int64_t>(35, 128), {35}).status().code() == Code::SLICE_INVALID);
  // Blocks of 256 values, as K-quants have them, cannot be cut.
  Config blocks = config;
  blocks.ffn_width.assign(35, 512);
  blocks.ffn_block[3] = 256;
  std::vector<int64_t> widths(35, 128);
  widths[3] = 256;
  CHECK(Slice::Custom(blocks, widths, {}).ok());
  widths[3] = 384;
  const Status cut = Slice::Custom(blocks, widths, {}).status();
  CHECK(cut.code() == Code::SLICE_INVALID);
  CHECK(cut.message() ==
        "layer 3: width 384; multiples of 256 (the values in a block of its down projection) up to the file's 512 are "
        "allowed");
}

}  // namespace hearth
