// Engine and Session through the boundary that Node uses.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "addon/runtime.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::Golden;
using test::MaxDifference;
using test::OpenGguf;

constexpr int64_t kPositions = 50;

std::shared_ptr<Engine> OpenEngine(const std::string& name, EngineOptions options = {}) {
  options.model_path = "test/fixtures/models/" + name + ".gguf";
  StatusOr<std::shared_ptr<Engine>> engine = Engine::Open(options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return *engine;
}

struct Prompt {
  std::shared_ptr<const GgufFile> golden;
  std::span<const int32_t> ids;

  explicit Prompt(const std::string& name) : golden(OpenGguf("test/fixtures/models/" + name + ".golden.gguf")) {
    ids = {Golden<int32_t>(*golden, "input_ids"), static_cast<size_t>(kPositions)};
  }
};

std::unique_ptr<Session> NewSession(Engine& engine) {
  StatusOr<std::unique_ptr<Session>> session = engine.NewSession();
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

std::vector<int32_t> GreedyTokens(Session& session, int count) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) {
    const StatusOr<Sampled> sampled = session.Sample({});
    REQUIRE_MESSAGE(sampled.ok(), sampled.status().message());
    tokens.push_back(sampled.value().token);
    if (sampled.value().end) break;
    REQUIRE(session.Advance(1).ok());
  }
  return tokens;
}

}  // namespace

TEST_CASE("prefill and greedy decoding give the reference's tokens, whatever the chunks, threads and ISA") {
  const Prompt prompt("e2b-narrow");
  const int32_t* greedy = Golden<int32_t>(*prompt.golden, "greedy");
  for (const char* isa : {"", "scalar"}) {
    for (const int threads : {1, 3}) {
      EngineOptions options;
      options.isa = isa;
      options.threads = threads;
      const auto engine = OpenEngine("e2b-narrow", options);
      for (const int64_t chunk : {1, 7, 256}) {
        const auto session = NewSession(*engine);
        REQUIRE(session->Append(prompt.ids, {}).ok());
        CHECK(session->pending() == kPositions);
        int64_t calls = 0;
        for (int64_t left = kPositions; left > 0; ++calls) left = session->Advance(chunk).value();
        CHECK(calls == (kPositions + chunk - 1) / chunk);
        const std::vector<int32_t> tokens = GreedyTokens(*session, 16);
        for (size_t i = 0; i < tokens.size(); ++i) CHECK(tokens[i] == greedy[i]);
      }
    }
  }
}

TEST_CASE("rewind and redo, snapshot and restore: the logits of one-shot prefill") {
  const Prompt prompt("e4b-narrow");
  EngineOptions options;
  options.exact = true;  // a key rounded to F16 may round the other way when its chunk is another
  const auto engine = OpenEngine("e4b-narrow", options);
  const int64_t vocab = engine->info().vocab;
  const auto session = NewSession(*engine);
  REQUIRE(session->Append(prompt.ids, {}).ok());
  REQUIRE(session->Advance(kPositions).value() == 0);
  const std::vector<float> expected(session->logits().begin(), session->logits().end());
  REQUIRE(expected.size() == static_cast<size_t>(vocab));

  REQUIRE(session->Rewind(17).ok());
  CHECK(session->logits().empty());
  CHECK(session->Sample({}).status().code() == Code::PROMPT_INVALID);
  REQUIRE(session->Append(prompt.ids.subspan(17), {}).ok());
  REQUIRE(session->Advance(kPositions).value() == 0);
  CHECK(MaxDifference(session->logits().data(), expected.data(), vocab) <= 1e-4f);

  REQUIRE(session->Rewind(30).ok());
  const std::vector<uint8_t> snapshot = session->Snapshot();
  const auto other = NewSession(*engine);
  REQUIRE(other->Restore(snapshot).ok());
  CHECK(other->position() == 30);
  REQUIRE(other->Append(prompt.ids.subspan(30), {}).ok());
  REQUIRE(other->Advance(7).value() == 13);
  REQUIRE(other->Advance(kPositions).value() == 0);
  CHECK(MaxDifference(other->logits().data(), expected.data(), vocab) <= 1e-4f);

  // A snapshot taken after a prefill carries its logits.
  const auto third = NewSession(*engine);
  REQUIRE(third->Restore(other->Snapshot()).ok());
  CHECK(third->Sample({}).value().token == other->Sample({}).value().token);
}

TEST_CASE("damaged, foreign and mismatched snapshots are refused and change nothing") {
  const Prompt prompt("e2b-narrow");
  const auto engine = OpenEngine("e2b-narrow");
  const auto session = NewSession(*engine);
  REQUIRE(session->Append(prompt.ids, {}).ok());
  REQUIRE(session->Advance(kPositions).ok());
  const std::vector<uint8_t> snapshot = session->Snapshot();
  const auto refused = [&](const std::vector<uint8_t>& bytes) {
    const Status status = session->Restore(bytes);
    CHECK((status.code() == Code::SNAPSHOT_INVALID || status.code() == Code::CONTEXT_FULL));
    CHECK(session->position() == kPositions);
  };
  refused({});
  refused(std::vector<uint8_t>(snapshot.begin(), snapshot.end() - 1));
  for (const size_t at : {0u, 4u, 8u, 16u, 23u, 24u, 32u}) {
    std::vector<uint8_t> bytes = snapshot;
    bytes[at] ^= 0x55;
    refused(bytes);
  }
  std::vector<uint8_t> longer = snapshot;
  longer.push_back(0);
  refused(longer);
  const auto foreign = OpenEngine("e4b-narrow");
  const auto other = NewSession(*foreign);
  CHECK(other->Restore(snapshot).code() == Code::SNAPSHOT_INVALID);
}

TEST_CASE("slices: names, the KV guard, and a tail slice in mid-conversation") {
  const Prompt prompt("e4b-narrow");
  EngineOptions options;
  options.kv_type = "f32";  // float16 keys and values alone move these logits by 1e-3
  const auto engine = OpenEngine("e4b-narrow", options);
  const auto session = NewSession(*engine);
  CHECK(session->slice_name() == "full");
  SliceOptions e2b, nonsense, tail;
  e2b.name = "e2b";
  nonsense.name = "e2b; rm";
  tail.ffn_widths.assign(35, 256);
  std::fill(tail.ffn_widths.begin() + 20, tail.ffn_widths.end(), 128);
  tail.skipped_layers = {20, 21, 22, 23, 24};
  CHECK(session->SetSlice(nonsense).code() == Code::SLICE_INVALID);
  REQUIRE(session->Append(prompt.ids, {}).ok());
  REQUIRE(session->Advance(kPositions - 1).value() == 1);
  CHECK(session->SetSlice(e2b).code() == Code::SLICE_INVALID);
  REQUIRE(session->SetSlice(tail).ok());
  REQUIRE(session->Advance(1).value() == 0);
  const int64_t vocab = engine->info().vocab;
  const float* expected = Golden<float>(*prompt.golden, "slice.tail.logits") + (kPositions - 1) * vocab;
  CHECK(MaxDifference(session->logits().data(), expected, vocab) <= 1e-4f);
  REQUIRE(session->Rewind(0).ok());
  CHECK(session->SetSlice(e2b).ok());
  CHECK(session->slice_name() == "e2b");
}

TEST_CASE("prompts that cannot be") {
  EngineOptions options;
  options.context_length = 64;
  const auto engine = OpenEngine("e2b-narrow", options);
  const auto session = NewSession(*engine);
  const std::vector<int32_t> negative = {5, -1}, beyond = {static_cast<int32_t>(engine->info().vocab)};
  CHECK(session->Append(negative, {}).code() == Code::TOKEN_INVALID);
  CHECK(session->Append(beyond, {}).code() == Code::TOKEN_INVALID);
  // Without a vision encoder its ids have no embedding.
  const std::vector<int32_t> vision = {1030};
  CHECK(session->Append(vision, {}).code() == Code::TOKEN_INVALID);
  const std::vector<int32_t> many(65, 5);
  CHECK(session->Append(many, {}).code() == Code::CONTEXT_FULL);
  SoftTokens soft;
  soft.count = 1;
  soft.rows.assign(static_cast<size_t>(engine->info().hidden), 0.0f);
  const SoftTokens* one[] = {&soft};
  const std::vector<int32_t> text = {5};
  CHECK(session->Append(text, one).code() == Code::PROMPT_INVALID);
  CHECK(session->pending() == 0);
  CHECK(session->Rewind(1).code() == Code::OPTION_INVALID);
  CHECK(engine->EncodeAudio({}).status().code() == Code::MODEL_UNSUPPORTED);
  CHECK(engine->EncodeImage(nullptr, 1, 1, 256).status().code() == Code::MODEL_UNSUPPORTED);

  // The context ends in an error, not past the cache.
  const std::vector<int32_t> full(64, 5);
  REQUIRE(session->Append(full, {}).ok());
  REQUIRE(session->Advance(64).value() == 0);
  CHECK(session->Append(text, {}).code() == Code::CONTEXT_FULL);
}

TEST_CASE("options that cannot be") {
  EngineOptions options;
  options.model_path = "test/fixtures/models/e2b-narrow.gguf";
  options.isa = "z80";
  CHECK(Engine::Open(options).status().code() == Code::OPTION_INVALID);
  options.isa = "";
  options.threads = -1;
  CHECK(Engine::Open(options).status().code() == Code::OPTION_INVALID);
  options.threads = 0;
  options.context_length = 1 << 30;
  CHECK(Engine::Open(options).status().code() == Code::OPTION_INVALID);
  options.context_length = 0;
  options.multimodal_path = "test/fixtures/models/e2b-narrow.gguf";
  CHECK(Engine::Open(options).ok());  // a file without encoders adds none
  options.model_path = "package.json";
  CHECK(Engine::Open(options).status().code() == Code::GGUF_MALFORMED);
}

TEST_CASE("sampling with a seed repeats; the seed is what decides") {
  const Prompt prompt("e2b-narrow");
  const auto engine = OpenEngine("e2b-narrow");
  const auto run = [&](uint64_t seed) {
    const auto session = NewSession(*engine);
    REQUIRE(session->Append(prompt.ids, {}).ok());
    REQUIRE(session->Advance(kPositions).ok());
    SamplingOptions options;
    options.temperature = 1.5f;
    options.seed = seed;
    std::vector<int32_t> tokens;
    for (int i = 0; i < 24; ++i) {
      const Sampled sampled = session->Sample(options).value();
      tokens.push_back(sampled.token);
      if (sampled.end) break;
      REQUIRE(session->Advance(1).ok());
    }
    return tokens;
  };
  CHECK(run(1) == run(1));
  CHECK(run(1) != run(2));
}

TEST_CASE("a model over the memory limit is refused with what it needs; just under it, it loads") {
  const uint64_t needed = OpenEngine("e2b-narrow")->info().memory_bytes;
  EngineOptions options;
  options.model_path = "test/fixtures/models/e2b-narrow.gguf";
  options.memory_limit = needed;
  CHECK(Engine::Open(options).ok());
  options.memory_limit = needed - 1;
  const Status status = Engine::Open(options).status();
  CHECK(status.code() == Code::MODEL_TOO_LARGE);
  CHECK(status.message().find("the model needs") != std::string::npos);
  CHECK(status.message().find("contextLength") != std::string::npos);
  // What several sessions and the prefix cache may take counts.
  options.sessions = 3;
  options.prefix_cache_bytes = 0;
  options.memory_limit = 0;
  const ModelInfo three = (*Engine::Open(options))->info();
  const uint64_t buffers = static_cast<uint64_t>((256 * three.hidden + three.vocab) * 4);
  CHECK(three.memory_bytes == needed + 2 * (three.kv_bytes + buffers) - (uint64_t{256} << 20));
  options.sessions = 0;
  CHECK(Engine::Open(options).status().code() == Code::OPTION_INVALID);
}

TEST_CASE("a slice loaded alone is what sessions run on, with the logits of that slice of the whole file") {
  const Prompt prompt("e4b-narrow");
  const auto logits = [&](Engine& engine, const std::string& slice) {
    const auto session = NewSession(engine);
    if (!slice.empty()) REQUIRE(session->SetSlice({slice, {}, {}}).ok());
    REQUIRE(session->Append(prompt.ids, {}).ok());
    REQUIRE(session->Advance(kPositions).ok());
    return std::pair(session->slice_name(), std::vector<float>(session->logits().begin(), session->logits().end()));
  };
  const auto whole = OpenEngine("e4b-narrow");
  EngineOptions options;
  options.load_slice = "e2b";
  std::vector<double> heard;
  options.on_progress = [&](double fraction) { heard.push_back(fraction); };
  const auto part = OpenEngine("e4b-narrow", options);
  CHECK(part->info().loaded_slice == "e2b");
  CHECK(whole->info().loaded_slice == "full");
  REQUIRE(part->info().slices.size() == 1);
  CHECK(part->info().slices[0].name == "e2b");
  CHECK(part->info().slices[0].published);
  CHECK(part->info().weight_bytes < whole->info().weight_bytes);
  CHECK(logits(*part, "") == logits(*whole, "e2b"));
  const Status refused = NewSession(*part)->SetSlice({"full", {}, {}});
  CHECK(refused.code() == Code::SLICE_INVALID);
  CHECK(refused.message().find("only what slice e2b needs was loaded") != std::string::npos);
  REQUIRE(heard.size() >= 2);
  CHECK(heard.front() == 0);
  CHECK(heard.back() == 1);
  CHECK(std::is_sorted(heard.begin(), heard.end()));

  options.load_slice = "e9b";
  options.model_path = "test/fixtures/models/e4b-narrow.gguf";
  CHECK(Engine::Open(options).status().code() == Code::SLICE_INVALID);
}

TEST_CASE("over the memory limit, the largest slice that would fit is named, and fits") {
  EngineOptions options;
  options.model_path = "test/fixtures/models/e4b-narrow.gguf";
  options.prefix_cache_bytes = 0;
  const auto needs = [&](const std::string& slice) {
    EngineOptions other = options;
    other.load_slice = slice;
    return (*Engine::Open(other))->info().memory_bytes;
  };
  REQUIRE(needs("e2b") < needs("e2.54b"));
  options.memory_limit = needs("e2.54b");
  const Status status = Engine::Open(options).status();
  CHECK(status.code() == Code::MODEL_TOO_LARGE);
  CHECK_MESSAGE(status.message().find("slice e2.54b would fit, loaded alone") != std::string::npos, status.message());
  options.load_slice = "e2.54b";
  CHECK(Engine::Open(options).ok());
  options.memory_limit = needs("e2b") - 1;
  const Status none = Engine::Open(options).status();
  CHECK(none.code() == Code::MODEL_TOO_LARGE);
  CHECK_MESSAGE(none.message().find("slice ") == std::string::npos, none.message());
}

TEST_CASE("what keys and values take is known before the first of them, for either type") {
  EngineOptions options;
  options.context_length = 2048;
  const ModelInfo f16 = OpenEngine("e2b-narrow", options)->info();
  options.kv_type = "f32";
  const ModelInfo f32 = OpenEngine("e2b-narrow", options)->info();
  CHECK(f16.kv_type == "f16");
  CHECK(f16.kv_bytes == f16.kv_bytes_f16);
  CHECK(f32.kv_bytes == 2 * f32.kv_bytes_f16);
  CHECK(f32.memory_bytes - f16.memory_bytes == f32.kv_bytes - f16.kv_bytes);
  const auto engine = OpenEngine("e2b-narrow", options);
  const auto session = NewSession(*engine);
  CHECK(session->kv_bytes() == 0);
  const std::vector<int32_t> ids(2048, 7);
  REQUIRE(session->Append(ids, {}).ok());
  REQUIRE(session->Advance(2048).ok());
  CHECK(session->kv_bytes() == f32.kv_bytes);
}

}  // namespace hearth
