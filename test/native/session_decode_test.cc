// Decode gives what Advance and Sample in turn give: the same tokens and text, the same logits bit for bit, and a
// session that cannot be told from one that never drafted.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "addon/kernels/dispatch.h"
#include "addon/runtime.h"
#include "addon/text/grammar.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using Tokens = std::vector<int32_t>;

constexpr const char* kNarrow = "test/fixtures/models/e2b-narrow.gguf";
constexpr const char* kNano = "daemon/demo/model/nano.gguf";

std::shared_ptr<Engine> Open(const std::string& path, EngineOptions options = {}) {
  options.model_path = path;
  options.threads = 1;  // they change nothing, and these models are too small to be shared
  StatusOr<std::shared_ptr<Engine>> engine = Engine::Open(options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return *engine;
}

std::unique_ptr<Session> Prefilled(Engine& engine, const Tokens& prompt) {
  std::unique_ptr<Session> session = std::move(*engine.NewSession());
  REQUIRE(session->Append(prompt, {}).ok());
  REQUIRE(session->Advance(static_cast<int64_t>(prompt.size())).value() == 0);
  return session;
}

// Everything that has a guess is drafted, however unlikely.
DraftOptions Eager(int max_tokens) { return {max_tokens, 1e-12}; }

struct Reply {
  Tokens tokens;
  std::string text;
  bool ended = false;
  Code error = Code::kOk;
  int64_t drafted = 0, accepted = 0, calls = 0;

  void Add(const Sampled& sampled) {
    tokens.push_back(sampled.token);
    text += sampled.text;
    ended = sampled.end;
  }
};

Reply OneByOne(Session& session, int64_t tokens, const SamplingOptions& sampling = {}) {
  Reply reply;
  for (int64_t i = 0; i < tokens && !reply.ended; ++i) {
    if (session.pending() > 0) REQUIRE(session.Advance(1).ok());
    const StatusOr<Sampled> sampled = session.Sample(sampling);
    if (!sampled.ok()) {
      reply.error = sampled.status().code();
      break;
    }
    reply.Add(sampled.value());
  }
  return reply;
}

Reply Drafted(Session& session, int64_t tokens, const DraftOptions& draft, const SamplingOptions& sampling = {}) {
  Reply reply;
  while (static_cast<int64_t>(reply.tokens.size()) < tokens && !reply.ended) {
    const int64_t left = tokens - static_cast<int64_t>(reply.tokens.size());
    const StatusOr<Decoded> decoded = session.Decode(sampling, left, draft);
    ++reply.calls;
    if (!decoded.ok()) {
      reply.error = decoded.status().code();
      break;
    }
    const Decoded& d = decoded.value();
    REQUIRE(!d.sampled.empty());
    REQUIRE(static_cast<int64_t>(d.sampled.size()) <= left);
    CHECK(d.drafted <= draft.max_tokens);
    CHECK(d.accepted <= d.drafted);
    CHECK(static_cast<int64_t>(d.sampled.size()) <= d.accepted + 1);
    for (const Sampled& sampled : d.sampled) {
      CHECK_FALSE(reply.ended);
      reply.Add(sampled);
    }
    reply.drafted += d.drafted;
    reply.accepted += d.accepted;
  }
  return reply;
}

void CheckSame(const Reply& reply, const Reply& expected) {
  CHECK(reply.tokens == expected.tokens);
  CHECK(reply.text == expected.text);
  CHECK(reply.ended == expected.ended);
  CHECK(reply.error == expected.error);
}

void CheckSameState(Session& a, Session& b) {
  CHECK(a.position() == b.position());
  CHECK(a.pending() == b.pending());
  REQUIRE(a.logits().size() == b.logits().size());
  CHECK(std::memcmp(a.logits().data(), b.logits().data(), a.logits().size_bytes()) == 0);
  CHECK(a.FlushText() == b.FlushText());
  CHECK(a.Snapshot() == b.Snapshot());
}

// A prompt that repeats itself, so that something is looked up at every step.
Tokens Repetitive(int seed) {
  Tokens prompt = {2};
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 7; ++i) prompt.push_back(270 + (i * 37 * (seed + 1)) % 600);
  }
  return prompt;
}

Tokens NanoPrompt(const Engine& engine, const std::string& text) {
  const SpecialTokens& special = engine.info().special;
  Tokens prompt = {special.bos, special.start_of_turn};
  const auto add = [&](const std::string& part) {
    const Tokens ids = engine.Tokenize(part, false).value();
    prompt.insert(prompt.end(), ids.begin(), ids.end());
  };
  add("user\n" + text);
  prompt.push_back(special.end_of_turn);
  add("\n");
  prompt.push_back(special.start_of_turn);
  add("model\n");
  return prompt;
}

const char* const kCallPrompt = "Answer with one JSON function call, or null.\nPon la cocina a veinte grados.";
const char* const kSchema = R"({"anyOf": [
  {"properties": {"name": {"const": "set_light"}, "arguments": {"properties": {"room": {"enum": ["kitchen", "garden"]},
    "on": {"type": "boolean"}}, "required": ["room", "on"]}}, "required": ["name", "arguments"]},
  {"properties": {"name": {"const": "set_temperature"}, "arguments": {"properties": {"room": {"type": "string"},
    "celsius": {"type": "integer"}}, "required": ["room", "celsius"]}}, "required": ["name", "arguments"]},
  {"type": "null"}]})";

std::vector<std::string> Isas() {
  std::vector<std::string> isas;
  for (const hearth_kernels* const* table = AvailableKernels(); *table != nullptr; ++table)
    isas.push_back((*table)->isa);
  return isas;
}

}  // namespace

TEST_CASE("drafts of 1 to 8 tokens change neither reply nor logits, under every ISA: repetitive prompts") {
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    EngineOptions options;
    options.isa = isa;
    const auto engine = Open(kNarrow, options);
    for (int seed = 0; seed < 3; ++seed) {
      const Tokens prompt = Repetitive(seed);
      const auto expected_session = Prefilled(*engine, prompt);
      const Reply expected = OneByOne(*expected_session, 48);
      int64_t drafted = 0;
      for (int most = 0; most <= Session::kMaxDraft; ++most) {
        CAPTURE(most);
        const auto session = Prefilled(*engine, prompt);
        const Reply reply = Drafted(*session, 48, Eager(most));
        CheckSame(reply, expected);
        CheckSameState(*session, *expected_session);
        drafted += reply.drafted;
        if (most == 0) CHECK(reply.calls == static_cast<int64_t>(expected.tokens.size()));
      }
      CHECK(drafted > 0);
    }
  }
}

TEST_CASE("drafts under a schema, of a trained model: the same call in a third of the steps, under every ISA") {
  for (const std::string& isa : Isas()) {
    CAPTURE(isa);
    EngineOptions options;
    options.isa = isa;
    const auto engine = Open(kNano, options);
    const auto grammar = engine->CompileGrammar(kSchema).value();
    const Tokens prompt = NanoPrompt(*engine, kCallPrompt);
    const auto expected_session = Prefilled(*engine, prompt);
    REQUIRE(expected_session->SetGrammar(grammar).ok());
    const Reply expected = OneByOne(*expected_session, 64);
    CHECK(expected.text == R"({"name": "set_temperature", "arguments": {"room": "kitchen", "celsius": 20}})");
    CHECK(expected.ended);
    for (int most = 1; most <= Session::kMaxDraft; ++most) {
      CAPTURE(most);
      const auto session = Prefilled(*engine, prompt);
      REQUIRE(session->SetGrammar(grammar).ok());
      const Reply reply = Drafted(*session, 64, {most, 0.2});
      CheckSame(reply, expected);
      CheckSameState(*session, *expected_session);
      CHECK(reply.accepted * 10 >= reply.drafted * 8);
      if (most == 8) CHECK(reply.calls * 3 <= static_cast<int64_t>(expected.tokens.size()));
    }
  }
}

TEST_CASE("drafts under a schema, of a model that wants nothing: the same bytes of any kind") {
  const auto engine = Open(kNarrow);
  for (const char* schema :
       {R"({"type": "array", "items": {"enum": ["Küche", "Kühlschrank", "Keller"]}, "minItems": 4, "maxItems": 6})",
        R"({"properties": {"a": {"type": "string", "maxLength": 9}, "b": {"const": "ü€😀"}}, "required": ["a", "b"]})",
        R"({"type": "string", "pattern": "^(ab ?c){2,5}$"})", R"({"const": 7})"}) {
    CAPTURE(schema);
    const auto grammar = engine->CompileGrammar(schema).value();
    for (const float temperature : {0.0f, 1.0f, 100.0f}) {
      CAPTURE(temperature);
      SamplingOptions sampling;
      sampling.temperature = temperature;
      sampling.seed = 5;
      const auto expected_session = Prefilled(*engine, {2});
      REQUIRE(expected_session->SetGrammar(grammar).ok());
      const Reply expected = OneByOne(*expected_session, 120, sampling);
      for (const int most : {1, 3, 8}) {
        CAPTURE(most);
        const auto session = Prefilled(*engine, {2});
        REQUIRE(session->SetGrammar(grammar).ok());
        CheckSame(Drafted(*session, 120, Eager(most), sampling), expected);
        CheckSameState(*session, *expected_session);
      }
    }
  }
}

TEST_CASE("with a temperature: a seed's own tokens, and each way can go on where the other stopped") {
  const auto engine = Open(kNarrow);
  const Tokens prompt = Repetitive(1);
  SamplingOptions sampling;
  sampling.temperature = 0.3f;
  sampling.top_k = 20;
  sampling.top_p = 0.9f;
  sampling.seed = 11;
  const auto expected_session = Prefilled(*engine, prompt);
  const Reply expected = OneByOne(*expected_session, 60, sampling);
  const auto session = Prefilled(*engine, prompt);
  Reply mixed = Drafted(*session, 20, Eager(8), sampling);
  for (const Reply& more : {OneByOne(*session, 20, sampling), Drafted(*session, 20, Eager(5), sampling)}) {
    mixed.tokens.insert(mixed.tokens.end(), more.tokens.begin(), more.tokens.end());
    mixed.text += more.text;
  }
  CheckSame(mixed, expected);
  CheckSameState(*session, *expected_session);
}

TEST_CASE("never more tokens than asked for, wherever a draft is cut") {
  const auto engine = Open(kNano);
  const auto grammar = engine->CompileGrammar(kSchema).value();
  const Tokens prompt = NanoPrompt(*engine, kCallPrompt);
  for (int64_t most = 1; most <= 27; ++most) {
    CAPTURE(most);
    const auto expected_session = Prefilled(*engine, prompt), session = Prefilled(*engine, prompt);
    REQUIRE(expected_session->SetGrammar(grammar).ok());
    REQUIRE(session->SetGrammar(grammar).ok());
    CheckSame(Drafted(*session, most, Eager(8)), OneByOne(*expected_session, most));
    CheckSameState(*session, *expected_session);
  }
}

TEST_CASE("the end of the context: the same tokens, then the same error") {
  EngineOptions options;
  options.context_length = 64;
  const auto engine = Open(kNarrow, options);
  const Tokens prompt = Repetitive(0);  // 43 tokens
  const auto expected_session = Prefilled(*engine, prompt), session = Prefilled(*engine, prompt);
  const Reply expected = OneByOne(*expected_session, 100);
  CHECK(expected.error == Code::CONTEXT_FULL);
  CHECK(expected.tokens.size() == 64 - prompt.size());
  CheckSame(Drafted(*session, 100, Eager(8)), expected);
  CheckSameState(*session, *expected_session);
}

TEST_CASE("a dead end of the grammar inside a draft: what came before it, then the error, each time it is asked") {
  const auto engine = Open(kNano);
  // A vocabulary in which nothing has a z: the schema can be begun, but not ended.
  std::vector<Tokenizer::Piece> pieces;
  const auto loaded = Tokenizer::Load(*test::OpenGguf(kNano));
  for (int32_t id = 0; id < loaded.value().size(); ++id) {
    Tokenizer::Piece piece = loaded.value().piece(id);
    if (loaded.value().Bytes(id).find('z') != std::string_view::npos) piece.type = Tokenizer::Type::kUnused;
    pieces.push_back(piece);
  }
  const Tokenizer lame = std::move(*Tokenizer::FromPieces(std::move(pieces)));
  const auto grammar =
      Grammar::Compile(R"({"const": "set_light on set_light of the garagez"})", std::make_shared<TokenTrie>(lame))
          .value();
  const Tokens prompt = NanoPrompt(*engine, kCallPrompt);
  for (const int most : {0, 1, 2, 3, 4, 5, 6, 7, 8}) {
    CAPTURE(most);
    const auto expected_session = Prefilled(*engine, prompt), session = Prefilled(*engine, prompt);
    REQUIRE(expected_session->SetGrammar(grammar).ok());
    REQUIRE(session->SetGrammar(grammar).ok());
    const Reply expected = OneByOne(*expected_session, 100);
    CHECK(expected.error == Code::GRAMMAR_DEAD_END);
    CHECK(expected.text == "\"set_light on set_light of the garage");
    CheckSame(Drafted(*session, 100, Eager(most)), expected);
    CheckSameState(*session, *expected_session);
    CHECK(session->Decode({}, 1, Eager(most)).status().code() == Code::GRAMMAR_DEAD_END);
    CHECK(session->Sample({}).status().code() == Code::GRAMMAR_DEAD_END);
  }
}

TEST_CASE("after a draft the session rewinds, goes on with a prompt, and restores as ever") {
  const auto engine = Open(kNarrow);
  const Tokens prompt = Repetitive(2);
  const auto expected_session = Prefilled(*engine, prompt), session = Prefilled(*engine, prompt);
  OneByOne(*expected_session, 10);
  Drafted(*session, 10, Eager(8));
  for (const auto& s : {expected_session.get(), session.get()}) {
    REQUIRE(s->Append(Tokens{300, 301}, {}).ok());
    CHECK(s->pending() == 3);
  }
  // Whatever is pending is computed first.
  CheckSame(Drafted(*session, 9, Eager(8)), [&] {
    REQUIRE(expected_session->Advance(2).ok());
    return OneByOne(*expected_session, 9);
  }());
  CheckSameState(*session, *expected_session);

  const std::vector<uint8_t> snapshot = session->Snapshot();
  const int64_t middle = static_cast<int64_t>(prompt.size()) + 4;
  for (const auto& s : {expected_session.get(), session.get()}) {
    REQUIRE(s->Rewind(middle).ok());
    CHECK(s->logits().empty());
    REQUIRE(s->Append(Tokens{302}, {}).ok());
    REQUIRE(s->Advance(1).ok());
  }
  CheckSame(Drafted(*session, 9, Eager(8)), OneByOne(*expected_session, 9));
  for (const auto& s : {expected_session.get(), session.get()}) REQUIRE(s->Restore(snapshot).ok());
  CheckSame(Drafted(*session, 9, Eager(8)), OneByOne(*expected_session, 9));
}

TEST_CASE("earlier replies are drafted from: the same question takes less than half the calls the second time") {
  const auto engine = Open(kNano);
  const auto session = std::move(*engine->NewSession());
  const auto ask = [&](const std::string& text) {
    const Tokens prompt = NanoPrompt(*engine, text);
    REQUIRE(session->Rewind(0).ok());
    REQUIRE(session->Append(prompt, {}).ok());
    REQUIRE(session->Advance(static_cast<int64_t>(prompt.size())).ok());
    return Drafted(*session, 64, {8, 0.2});
  };
  const Reply first = ask(kCallPrompt), second = ask(kCallPrompt);
  CheckSame(second, first);
  CHECK(second.calls * 2 < first.calls);
}

TEST_CASE("decode: options that cannot be, and nothing to go on from") {
  const auto engine = Open(kNarrow);
  const auto session = std::move(*engine->NewSession());
  CHECK(session->Decode({}, 1).status().code() == Code::PROMPT_INVALID);
  REQUIRE(session->Append(Tokens{2, 5}, {}).ok());
  for (const int64_t most : {0, -1}) CHECK(session->Decode({}, most).status().code() == Code::OPTION_INVALID);
  CHECK(session->Decode({}, 1, {-1, 0}).status().code() == Code::OPTION_INVALID);
  CHECK(session->Decode({}, 1, {Session::kMaxDraft + 1, 0}).status().code() == Code::OPTION_INVALID);
  CHECK(session->Decode({}, 1, {8, -1}).status().code() == Code::OPTION_INVALID);
  CHECK(session->Decode({}, 1, {8, NAN}).status().code() == Code::OPTION_INVALID);
  CHECK(session->pending() == 2);
  SamplingOptions sampling;
  sampling.temperature = -1;
  CHECK(session->Decode(sampling, 4, Eager(8)).status().code() == Code::OPTION_INVALID);
  CHECK(session->pending() == 0);
  CHECK(session->Decode({}, 4, Eager(8)).value().sampled.size() == 1);
}

}  // namespace hearth
