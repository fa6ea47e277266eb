// What is drafted, and how sure it has to be; that it changes nothing is in session_decode_test.cc.
#include "addon/text/drafter.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "addon/session_step_cost.h"
#include "addon/text/grammar_preview.h"
#include "addon/text/prompt_lookup.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using Tokens = std::vector<int32_t>;

const Tokenizer& Vocabulary() {
  static const Tokenizer tokenizer = std::move(*Tokenizer::Load(*test::OpenGguf("daemon/demo/model/nano.gguf")));
  return tokenizer;
}

GrammarState ReplyTo(const std::string& schema) {
  static const auto trie = std::make_shared<TokenTrie>(Vocabulary());
  auto grammar = Grammar::Compile(schema, trie);
  REQUIRE_MESSAGE(grammar.ok(), grammar.status().message());
  return GrammarState(*grammar);
}

Tokens Encode(const std::string& text) { return Vocabulary().Encode(text, false).value(); }
std::string Decode(const Tokens& tokens) { return Vocabulary().Decode(tokens).value(); }

void Accept(GrammarState& state, const std::string& text) {
  for (const int32_t token : Encode(text)) REQUIRE(state.Accept(token).ok());
}

const char* const kCall = R"({"anyOf": [
  {"properties": {"name": {"const": "set_light"}, "arguments": {"properties": {"room": {"enum": ["garden", "garage"]},
    "on": {"type": "boolean"}}, "required": ["room", "on"]}}, "required": ["name", "arguments"]},
  {"properties": {"name": {"const": "play_music"}, "arguments": {"properties": {"song": {"type": "string"}},
    "required": ["song"]}}, "required": ["name", "arguments"]}, {"type": "null"}]})";

LookupMatch LookUpAny(const Tokens& text) {
  return LookUp(text, [](int32_t token) { return token >= 0; });
}

// Some text's tokens; any that are words will do.
Tokens Words(int count) {
  Tokens words;
  for (int32_t id = 300; static_cast<int>(words.size()) < count; ++id) {
    if (!Vocabulary().Bytes(id).empty()) words.push_back(id);
  }
  return words;
}

}  // namespace

TEST_CASE("lookup: the longest match, the latest of equals, and only what fits") {
  CHECK(LookUpAny({}).next == -1);
  CHECK(LookUpAny({1}).next == -1);
  CHECK(LookUpAny({1, 2, 3}).next == -1);
  // A run that goes on into itself.
  CHECK(LookUpAny({7, 7}).next == 1);
  CHECK(LookUpAny({7, 7}).length == 1);
  const Tokens text = {1, 2, 3, 4, 5, 9, 3, 4, 6, 9, 4, 8, 2, 3, 4};
  CHECK(LookUpAny(text).next == 4);
  CHECK(LookUpAny(text).length == 3);
  const LookupMatch other = LookUp(text, [](int32_t token) { return token != 5; });
  CHECK(other.next == 8);
  CHECK(other.length == 2);
  const LookupMatch latest = LookUp(text, [](int32_t token) { return token == 8; });
  CHECK(latest.next == 11);
  CHECK(latest.length == 1);
  CHECK(LookUp(text, [](int32_t) { return false; }).next == -1);
  CHECK(LookUpAny({1, 2, 3, 4, 5, 6, 9, 1, 2, 3, 4, 5}).length == kLongestLookup);
}

TEST_CASE("forced text: what a schema leaves no choice about, with the spaces the reply has") {
  GrammarState state = ReplyTo(kCall);
  // An object or null.
  CHECK(GrammarPreview(state).Forced(64).bytes == "");
  CHECK(GrammarPreview(state).Forced(64).open);
  Accept(state, "{");
  CHECK(GrammarPreview(state).Forced(64).bytes == R"("name": ")");
  Accept(state, R"("name": "set_l)");
  CHECK(GrammarPreview(state).Forced(64).bytes == R"(ight", "arguments": {"room": "gar)");
  CHECK(GrammarPreview(state).Forced(10).bytes == R"(ight", "ar)");
  CHECK(GrammarPreview(state).Forced(0).bytes == "");
  Accept(state, R"(ight", "arguments": {"room": "gara)");
  CHECK(GrammarPreview(state).Forced(64).bytes == R"(ge", "on": )");
  Accept(state, R"(ge", "on": t)");
  const GrammarPreview::Text rest = GrammarPreview(state).Forced(64);
  CHECK(rest.bytes == "rue}}");
  CHECK_FALSE(rest.open);
  Accept(state, "rue}}");
  CHECK(state.complete());
  CHECK(GrammarPreview(state).Forced(64).bytes == "");

  // A reply without spaces is taken to go on without, also the next one.
  for (int reply = 0; reply < 2; ++reply) {
    state.Restart();
    Accept(state, R"({"name":"set_l)");
    CHECK(GrammarPreview(state).Forced(64).bytes == R"(ight","arguments":{"room":"gar)");
  }
  state.Restart();
  Accept(state, R"({"name": "s)");
  CHECK(GrammarPreview(state).Forced(64).bytes == R"(et_light", "arguments": {"room": "gar)");
  // A string's own spaces say nothing about that.
  state.Restart();
  Accept(state, R"({"name": "play_music", "arguments": {"song": "a,b:c)");
  CHECK(GrammarPreview(state).Forced(64).bytes == "");
  Accept(state, "\"");
  CHECK(GrammarPreview(state).Forced(64).bytes == "}}");
}

TEST_CASE("a preview goes ahead of the reply and leaves it where it is") {
  GrammarState state = ReplyTo(kCall);
  GrammarPreview preview(state);
  const int32_t open = Vocabulary().Find("{"), close = Vocabulary().Find("}");
  REQUIRE(open >= 0);
  REQUIRE(close >= 0);
  CHECK(preview.Fits(open));
  CHECK_FALSE(preview.Fits(close));
  CHECK_FALSE(preview.Fits(Vocabulary().eos()));
  CHECK_FALSE(preview.Fits(-1));
  CHECK(preview.Accept(open));
  CHECK_FALSE(preview.Accept(open));
  CHECK(preview.Forced(64).bytes == R"("name": ")");
  CHECK(GrammarPreview(state).Forced(64).bytes == "");
  CHECK(state.Accept(open).ok());
}

TEST_CASE("drafts under a schema: its literals as the tokenizer writes them, all of them") {
  Drafter drafter(Vocabulary(), Vocabulary().size());
  GrammarState state = ReplyTo(kCall);
  Accept(state, "{\"name\": \"set_light");
  const Tokens timeline = Encode("{\"name\": \"set_light");
  const Tokens forced = Encode(R"(", "arguments": {"room": "gar)");
  const auto propose = [&](int64_t most, double cost) { return drafter.Propose(timeline, &state, most, cost); };
  CHECK(propose(32, 1e-9) == forced);
  for (int64_t most = 0; most <= 8; ++most)
    CHECK(propose(most, 1e-9) == Tokens(forced.begin(), forced.begin() + std::min<int64_t>(most, forced.size())));
  // Less sure of the last, which may be part of a longer token, than of the rest.
  REQUIRE(forced.size() > 3);
  CHECK(propose(32, 0.7 * std::pow(0.9, static_cast<double>(forced.size() - 1))) ==
        Tokens(forced.begin(), forced.end() - 1));
  CHECK(propose(32, 0.95).empty());
  CHECK(propose(32, 2).empty());
  CHECK(propose(-1, 1e-9).empty());
}

TEST_CASE("drafts from the timeline, one match leading to the next") {
  Drafter drafter(Vocabulary(), Vocabulary().size());
  const Tokens w = Words(6);
  const Tokens timeline = {w[0], w[1], w[2], w[3], w[4], w[5], w[0], w[1]};
  CHECK(drafter.Propose(timeline, nullptr, 4, 1e-9) == Tokens{w[2], w[3], w[4], w[5]});
  CHECK(drafter.Propose(timeline, nullptr, 7, 1e-9) == Tokens{w[2], w[3], w[4], w[5], w[0], w[1], w[2]});
  // Nothing that is not text: not the ids that structure a prompt, nor those of pictures.
  const int32_t end = Vocabulary().Find("<end_of_turn>"), picture = static_cast<int32_t>(Vocabulary().size());
  CHECK(drafter.Propose(Tokens{w[0], end, w[0]}, nullptr, 8, 1e-9).empty());
  CHECK(drafter.Propose(Tokens{w[0], picture, w[0]}, nullptr, 8, 1e-9).empty());
  CHECK(drafter.Propose(Tokens{w[0], w[1], end, w[0]}, nullptr, 8, 1e-9) == Tokens{w[1]});
  CHECK(drafter.Propose({}, nullptr, 8, 1e-9).empty());
}

TEST_CASE("drafts from the timeline fit the schema") {
  Drafter drafter(Vocabulary(), Vocabulary().size());
  GrammarState state = ReplyTo(R"({"enum": ["garden", "kitchen"]})");
  const Tokens before = Encode("In the \"kitchen\" \"garage\" \"bedroom\" \"");
  Accept(state, "\"");
  const Tokens draft = drafter.Propose(before, &state, 8, 1e-9);
  CHECK(Decode(draft).substr(0, 8) == "kitchen\"");
}

TEST_CASE("replies are remembered when their timeline is gone, up to a length") {
  Drafter drafter(Vocabulary(), Vocabulary().size());
  const Tokens w = Words(9);
  Tokens timeline = {w[0], w[1]};
  for (const int32_t token : {w[2], w[3], w[4]}) {
    drafter.Remember(timeline, token);
    timeline.push_back(token);
  }
  drafter.EndReply();
  // Another prompt that ends like the one before.
  CHECK(drafter.Propose(Tokens{w[5], w[0], w[1]}, nullptr, 8, 1e-9) == Tokens{w[2], w[3], w[4]});
  CHECK(drafter.Propose(Tokens{w[5]}, nullptr, 8, 1e-9).empty());
  // What came after the end of a reply is no part of it.
  timeline = {w[6]};
  drafter.Remember(timeline, w[7]);
  drafter.EndReply();
  CHECK(drafter.Propose(Tokens{w[3], w[4]}, nullptr, 8, 1e-9).empty());
  CHECK(drafter.Propose(Tokens{w[6]}, nullptr, 8, 1e-9) == Tokens{w[7]});
  for (int i = 0; i < 5000; ++i) drafter.Remember(timeline, w[8]);
  CHECK(drafter.Propose(Tokens{w[6], w[7]}, nullptr, 1, 1e-9).empty());
}

TEST_CASE("a source that is wrong falls silent, and is heard again when it would have been right") {
  Drafter drafter(Vocabulary(), Vocabulary().size());
  const Tokens w = Words(5);
  const Tokens timeline = {w[0], w[1], w[2], w[3], w[0], w[1], w[2]};  // followed by w[3], once
  constexpr double kCost = 0.25;
  const auto drafts = [&] { return !drafter.Propose(timeline, nullptr, 1, kCost).empty(); };
  CHECK(drafts());
  int misses = 0;
  for (; drafts(); ++misses) {
    REQUIRE(misses < 100);
    drafter.Learn(Tokens{w[4]});
  }
  CHECK(misses <= 8);
  // However long it was wrong, it takes no more than a few times to be believed again.
  for (int i = 0; i < 1000; ++i) {
    CHECK_FALSE(drafts());
    drafter.Learn(Tokens{w[4]});
  }
  int hits = 0;
  for (; !drafts(); ++hits) {
    REQUIRE(hits < 100);
    drafter.Learn(Tokens{w[3]});
  }
  CHECK(hits > 1);
  CHECK(hits <= 16);
}

TEST_CASE("an end of the reply counts against what was expected instead, and nothing counts twice") {
  Drafter drafter(Vocabulary(), Vocabulary().size());
  const Tokens w = Words(4);
  const Tokens timeline = {w[0], w[1], w[2], w[3], w[0], w[1], w[2]};
  const int32_t end = Vocabulary().Find("<end_of_turn>");
  REQUIRE_FALSE(drafter.Propose(timeline, nullptr, 1, 0.25).empty());
  drafter.Learn(Tokens{end});
  for (int i = 0; i < 100; ++i) drafter.Learn(Tokens{end});
  CHECK_FALSE(drafter.Propose(timeline, nullptr, 1, 0.25).empty());
  for (int i = 0; i < 8; ++i) {
    drafter.Propose(timeline, nullptr, 1, 0.25);
    drafter.Learn(Tokens{end});
  }
  CHECK(drafter.Propose(timeline, nullptr, 1, 0.25).empty());
}

TEST_CASE("step cost: from steps of one token and of several, whatever was in their way") {
  StepCost cost;
  CHECK(cost.more() == 0.25);
  cost.Add(5, 1.0);  // to be compared with nothing yet
  CHECK(cost.more() == 0.25);
  for (int i = 0; i < 50; ++i) {
    cost.Add(1, 0.100);
    cost.Add(9, 0.180);  // 0.1 each
  }
  CHECK(cost.more() == doctest::Approx(0.1).epsilon(0.05));
  // One step that the machine had something else to do in.
  cost.Add(1, 3.0);
  CHECK(cost.more() < 0.13);
  for (int i = 0; i < 20; ++i) cost.Add(1, 0.100);
  cost.Add(9, 5.0);
  CHECK(cost.more() < 0.3);
  StepCost slow;
  for (int i = 0; i < 200; ++i) {
    slow.Add(1, 0.1);
    slow.Add(3, 0.3);  // as much as on their own
  }
  CHECK(slow.more() == doctest::Approx(1).epsilon(0.05));
  // Nothing drafted for long: worth another look.
  for (int i = 0; i < 1000; ++i) slow.Add(1, 0.1);
  CHECK(slow.more() < 0.3);
}

}  // namespace hearth
