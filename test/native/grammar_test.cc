// Constrained decoding: whatever the model prefers, the reply parses and fits its schema; and every text that fits can
// be written. A second, independent reading of the schemas is test/unit/inference/grammar.test.ts, which checks with a
// validator.
#include "addon/text/grammar.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "addon/text/code_points.h"
#include "addon/text/grammar_automaton.h"
#include "addon/text/json.h"
#include "addon/text/schema_compiler.h"
#include "addon/text/utf8.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

struct Vocabulary {
  Tokenizer tokenizer;
  std::shared_ptr<const TokenTrie> trie;

  explicit Vocabulary(const std::string& path)
      : tokenizer(std::move(*Tokenizer::Load(*test::OpenGguf(path)))), trie(std::make_shared<TokenTrie>(tokenizer)) {}
};

const Vocabulary& Small() {
  static const Vocabulary vocabulary("test/fixtures/models/e2b-narrow.gguf");
  return vocabulary;
}

Status CompileError(const std::string& schema) { return Grammar::Compile(schema, Small().trie).status(); }

std::shared_ptr<const Grammar> Compile(const std::string& schema, const Vocabulary& vocabulary = Small()) {
  auto grammar = Grammar::Compile(schema, vocabulary.trie);
  REQUIRE_MESSAGE(grammar.ok(), grammar.status().message());
  return *grammar;
}

bool Bit(const uint64_t* mask, int32_t token) { return (mask[token / 64] >> (token % 64) & 1) != 0; }

// Whether the tokenizer's own tokens of `text` are allowed one after the other and the value is complete then.
bool Takes(const std::string& schema, const std::string& text, const Vocabulary& vocabulary = Small()) {
  GrammarState state(Compile(schema, vocabulary));
  const std::vector<int32_t> tokens = vocabulary.tokenizer.Encode(text, false).value();
  for (const int32_t token : tokens) {
    if (!Bit(state.Allowed(), token)) return false;
    REQUIRE(state.Accept(token).ok());
  }
  return state.complete() && Bit(state.Allowed(), vocabulary.tokenizer.eos());
}

// A reply of random tokens; short ones are likelier to end, so that strings do.
std::string RandomReply(const std::shared_ptr<const Grammar>& grammar, const Vocabulary& vocabulary,
                        std::mt19937& random) {
  GrammarState state(grammar);
  std::string reply;
  for (int i = 0; i < 400; ++i) {
    const uint64_t* allowed = state.Allowed();
    if (state.complete() && random() % 4 == 0) break;
    std::vector<int32_t> tokens;
    for (int32_t id = 0; id < vocabulary.tokenizer.size(); ++id) {
      if (Bit(allowed, id) && !vocabulary.tokenizer.Bytes(id).empty()) tokens.push_back(id);
    }
    if (tokens.empty()) {
      CHECK(state.complete());
      break;
    }
    int32_t token = tokens[random() % tokens.size()];
    // Time to come to an end: a string's first (inside one, braces are letters), then the rest's.
    for (const char* closing : {"}", "]", "\""}) {
      const int32_t id = vocabulary.tokenizer.Find(closing);
      if (i > 40 && id >= 0 && Bit(allowed, id)) token = id;
    }
    REQUIRE(state.Accept(token).ok());
    reply += vocabulary.tokenizer.Bytes(token);
  }
  CHECK_MESSAGE(state.complete(), reply);
  return reply;
}

// What a fresh state makes of it, byte by byte, without tokens.
bool Fits(const std::string& schema, const std::string& text) {
  const auto grammar = Compile(schema);
  GrammarAutomaton automaton(grammar->nodes(), grammar->root());
  GrammarAutomaton::StateId state = automaton.Start();
  for (const char byte : text) {
    if (state != GrammarAutomaton::kDead) state = automaton.Step(state, static_cast<unsigned char>(byte));
  }
  return state != GrammarAutomaton::kDead && automaton.complete(state);
}

// Nothing may come next but this byte.
bool OnlyByte(GrammarState& state, char byte) {
  const uint64_t* allowed = state.Allowed();
  for (int32_t id = 0; id < Small().tokenizer.size(); ++id) {
    if (Bit(allowed, id) && Small().tokenizer.Bytes(id) != std::string_view(&byte, 1)) return false;
  }
  return Bit(allowed, Small().tokenizer.Find(std::string_view(&byte, 1)));
}

// Follows a reply twice: as the product does, and byte by byte with every token by itself.
class ExactWalk {
 public:
  ExactWalk(const std::shared_ptr<const Grammar>& grammar, const Vocabulary& vocabulary)
      : vocabulary_(vocabulary), state_(grammar), plain_(grammar->nodes(), grammar->root()), at_(plain_.Start()) {}

  // The tokens that can be taken; exactly these and the ends must be allowed.
  std::vector<int32_t> Check() {
    const Tokenizer& tokenizer = vocabulary_.tokenizer;
    const uint64_t* allowed = state_.Allowed();
    std::vector<int32_t> tokens;
    int wrong = 0;
    for (int32_t id = 0; id < tokenizer.size(); ++id) {
      const std::string_view bytes = vocabulary_.trie->Bytes(id);
      const bool fits = !bytes.empty() && Run(bytes) >= 0;
      const bool ends = plain_.complete(at_) && (id == tokenizer.eos() || id == tokenizer.Find("<end_of_turn>"));
      wrong += Bit(allowed, id) != (fits || ends);
      if (fits) tokens.push_back(id);
    }
    REQUIRE(wrong == 0);
    return tokens;
  }

  void Take(int32_t token) {
    REQUIRE(state_.Accept(token).ok());
    at_ = Run(vocabulary_.tokenizer.Bytes(token));
  }

 private:
  GrammarAutomaton::StateId Run(std::string_view bytes) {
    GrammarAutomaton::StateId to = at_;
    for (const char byte : bytes) to = to < 0 ? to : plain_.Step(to, static_cast<unsigned char>(byte));
    return to;
  }

  const Vocabulary& vocabulary_;
  GrammarState state_;
  GrammarAutomaton plain_;
  GrammarAutomaton::StateId at_;
};

constexpr char kCalls[] = R"({"anyOf": [
  {"type": "object", "properties": {"name": {"const": "set_light"}, "arguments": {"type": "object", "properties":
     {"room": {"enum": ["kitchen", "living_room"]}, "on": {"type": "boolean"}}, "required": ["room", "on"], "additionalProperties": false}},
   "required": ["name", "arguments"], "additionalProperties": false},
  {"type": "object", "properties": {"name": {"const": "set_temperature"}, "arguments": {"type": "object", "properties":
     {"room": {"type": "string", "maxLength": 12}, "celsius": {"type": "integer", "minimum": 15, "maximum": 25}}, "required": ["room", "celsius"]}},
   "required": ["name", "arguments"], "additionalProperties": false},
  {"type": "null"}]})";

}  // namespace

TEST_CASE("grammar: function calls, and the agreed no call") {
  CHECK(Takes(kCalls, R"({"name": "set_light", "arguments": {"room": "kitchen", "on": true}})"));
  CHECK(Takes(kCalls, R"({"name":"set_temperature","arguments":{"room":"attic","celsius":15}})"));
  CHECK(Takes(kCalls, "null"));
  CHECK_FALSE(Takes(kCalls, R"({"name": "set_light", "arguments": {"room": "attic", "on": true}})"));
  CHECK_FALSE(Takes(kCalls, R"({"name": "set_light", "arguments": {"on": true, "room": "kitchen"}})"));
  CHECK_FALSE(Takes(kCalls, R"({"name": "set_temperature", "arguments": {"room": "attic", "celsius": 26}})"));
  CHECK_FALSE(Takes(kCalls, R"({"name": "unlock"})"));
  CHECK_FALSE(Takes(kCalls, R"({"name": "set_light", "arguments": {"room": "kitchen", "on": true})"));
  CHECK_FALSE(Takes(kCalls, "nul"));
  CHECK_FALSE(Takes(kCalls, " null"));
}

TEST_CASE("grammar: integers within bounds, each and every one") {
  for (const auto& [low, high] : std::vector<std::pair<int, int>>{
           {15, 25}, {-3, 12}, {0, 0}, {7, 7}, {98, 1002}, {-120, -7}, {-1, 1}, {0, 255}}) {
    const std::string schema =
        R"({"type": "integer", "minimum": )" + std::to_string(low) + R"(, "maximum": )" + std::to_string(high) + "}";
    CAPTURE(schema);
    for (int n = low - 30; n <= high + 30; ++n) CHECK(Takes(schema, std::to_string(n)) == (n >= low && n <= high));
    CHECK_FALSE(Takes(schema, "-0"));
    CHECK_FALSE(Takes(schema, "007"));
  }
  CHECK(Takes(R"({"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6})", "5"));
  CHECK_FALSE(Takes(R"({"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6})", "4"));
  CHECK(Takes(R"({"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 25})", "75"));
  CHECK_FALSE(Takes(R"({"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 25})", "70"));
  CHECK(Takes(R"({"type": "integer"})", "-123456789012345"));
  CHECK_FALSE(Takes(R"({"type": "integer"})", "1.5"));
}

TEST_CASE("grammar: numbers") {
  CHECK(Takes(R"({"type": "number"})", "-12.5e+3"));
  CHECK(Takes(R"({"type": "number"})", "0"));
  CHECK_FALSE(Takes(R"({"type": "number"})", "01"));
  CHECK_FALSE(Takes(R"({"type": "number"})", "1."));
  const std::string range = R"({"type": "number", "minimum": 0.5, "maximum": 2.75})";
  for (const char* in : {"0.5", "0.50", "1", "2", "1.5", "2.75", "1.99", "2.70", "2.749999"})
    CHECK_MESSAGE(Takes(range, in), in);
  for (const char* out : {"0.49", "0.499999", "0", "3", "2.76", "2.750001", "2.8", ".5", "02.5"})
    CHECK_FALSE_MESSAGE(Takes(range, out), out);
  const std::string inside = R"({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})";
  for (const char* in : {"0.5", "0.000001", "0.999999"}) CHECK_MESSAGE(Takes(inside, in), in);
  for (const char* out : {"0", "1", "0.0", "1.0", "0.000000", "-0.5"}) CHECK_FALSE_MESSAGE(Takes(inside, out), out);
  CHECK(Takes(R"({"type": "number", "minimum": 20})", "999999999999999"));
  CHECK(Takes(R"({"type": "number", "maximum": -20})", "-20.5"));
  CHECK_FALSE(Takes(R"({"type": "number", "maximum": -20})", "-19.999999"));
  const std::string around_zero = R"({"type": "number", "minimum": -1, "maximum": 1})";
  for (const char* in : {"-1", "0", "1", "-0.5", "0.9", "-1.0"}) CHECK_MESSAGE(Takes(around_zero, in), in);
  for (const char* out : {"-1.1", "1.1", "2"}) CHECK_FALSE_MESSAGE(Takes(around_zero, out), out);
}

TEST_CASE("grammar: strings") {
  CHECK(Takes(R"({"type": "string"})", R"("h\u00e9llo \"w\" \\ /")"));
  CHECK(Takes(R"({"type": "string"})", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xa5\""));
  CHECK_FALSE(Takes(R"({"type": "string"})", "\"a\nb\""));
  CHECK_FALSE(Takes(R"({"type": "string"})", "\"\xff\""));
  CHECK_FALSE(Takes(R"({"type": "string"})", R"("\ud83d")"));
  CHECK_FALSE(Takes(R"({"type": "string"})", R"("\x")"));
  const std::string sized = R"({"type": "string", "minLength": 2, "maxLength": 3})";
  CHECK(Takes(sized, "\"\xc3\xa9\xc3\xa9\""));
  CHECK(Takes(sized, R"("a\n")"));
  CHECK_FALSE(Takes(sized, "\"a\""));
  CHECK_FALSE(Takes(sized, "\"abcd\""));
}

TEST_CASE("grammar: patterns") {
  const auto matches = [](const std::string& pattern, const std::string& text) {
    return Takes(R"({"type": "string", "pattern": )" + QuoteJson(pattern) + "}", QuoteJson(text));
  };
  CHECK(matches("^[a-z]{2}-\\d+$", "ab-42"));
  CHECK_FALSE(matches("^[a-z]{2}-\\d+$", "abc-42"));
  CHECK_FALSE(matches("^[a-z]{2}-\\d+$", "ab-42x"));
  CHECK(matches("42", "xx42yy"));
  CHECK_FALSE(matches("42", "xx4 2yy"));
  CHECK(matches("^(on|off|dim(med)?)$", "dimmed"));
  CHECK_FALSE(matches("^(on|off|dim(med)?)$", "dimm"));
  CHECK(matches("^[^\"x]*$", "a\\b\xc3\xa9"));
  CHECK_FALSE(matches("^[^\"x]*$", "ax"));
  CHECK(matches("^\"\\\\$", "\"\\"));
  CHECK(matches("^.{3}$", "a\xe2\x82\xac!"));
  CHECK(matches("^\xc3\xa9+$", "\xc3\xa9\xc3\xa9"));
  CHECK(matches("^[\\w.-]+@[a-z]+\\.(de|org)$", "a.b-c@home.de"));
  for (const char* bad :
       {"(?=a)", "(?<n>a)", "\\1", "a{2,1}", "a{5000}", "[z-a]", "(a", "[a", "*a", "\\b", "\\p{L}", "^a|b$", "a^b",
        "\\u12", "\\ud83d", "[\\d-z]", "(a{200}){200}", "^(((a?){0,999}){0,999}){0,999}b$"}) {
    const Status status = CompileError(R"({"type": "string", "pattern": )" + QuoteJson(bad) + "}");
    CHECK_MESSAGE(status.code() == Code::SCHEMA_INVALID, bad);
  }
}

TEST_CASE("grammar: patterns mean what ECMAScript means, beyond ASCII too") {
  const auto matches = [](const std::string& pattern, const std::string& text) {
    return Fits(R"({"type": "string", "pattern": )" + QuoteJson(pattern) + "}", QuoteJson(text));
  };
  CHECK(matches("^[\xc3\xa0-\xc3\xbf]+$", "\xc3\xa9\xc3\xbc"));
  CHECK_FALSE(matches("^[\xc3\xa0-\xc3\xbf]+$", "\xc3\x9f"));
  CHECK(matches("^[^\xc3\xa9]$", "\xc3\xa8"));
  CHECK_FALSE(matches("^[^\xc3\xa9]$", "\xc3\xa9"));
  CHECK(matches("^\\u00e9\\x41\\/$",
                "\xc3\xa9"
                "A/"));
  CHECK_FALSE(matches("^.$", "\xe2\x80\xa8"));  // U+2028 ends a line
  CHECK(matches("^\\s$", "\xc2\xa0"));          // U+00A0 is a space
  CHECK_FALSE(matches("^\\S$", "\xc2\xa0"));
  CHECK(matches("^[\\S\\s]$", "\xc2\xa0"));
  CHECK_FALSE(matches("^\\w$", "\xc3\xa9"));
  CHECK(matches("^\\W$", "\xc3\xa9"));
  CHECK_FALSE(matches("^[^\\W_]$", "_"));
}

TEST_CASE("grammar: repeats of what may be empty") {
  const auto matches = [](const std::string& pattern, const std::string& text) {
    return Fits(R"({"type": "string", "pattern": )" + QuoteJson(pattern) + "}", QuoteJson(text));
  };
  for (const char* text : {"b", "ab", "aaaab"}) CHECK_MESSAGE(matches("^(((a*)*)*)*b$", text), text);
  for (const char* text : {"xy", "xxy", "xz", "xyz", "xxyxzxyz"}) CHECK_MESSAGE(matches("^(x+y?z?){1,3}$", text), text);
  for (const char* text : {"", "z", "y", "yz", "zyzyz"}) CHECK_MESSAGE(matches("^(y?z?){3}$", text), text);
  CHECK_FALSE(matches("^(y?z?){3}$", "zzzz"));
  CHECK(matches("^(|a|b?){2}$", "ab"));
  CHECK_FALSE(matches("^(|a|b?){2}$", "abb"));
}

TEST_CASE("grammar: a class is exactly its characters, whatever bytes they take") {
  using Range = CodePointSet::Range;
  const std::vector<std::vector<Range>> sets = {{{0x80, 0x10ffff}},  {{0, 0x7f}},
                                                {{0x7f, 0x80}},      {{0x7ff, 0x800}, {0xfffe, 0x10001}},
                                                {{0xd000, 0xf000}},  {{0xe9, 0xe9}, {0x100, 0x3fe}},
                                                {{0x12345, 0x54321}}};
  for (const std::vector<Range>& ranges : sets) {
    for (const bool complement : {false, true}) {
      const CodePointSet set(ranges);
      GrammarNodes nodes;
      const NodeId root = CharacterNode(nodes, complement ? set.Complement() : set);
      REQUIRE(nodes.Finish(root).ok());
      GrammarAutomaton automaton(nodes, root);
      const GrammarAutomaton::StateId start = automaton.Start();
      int wrong = 0;
      for (uint32_t code = 0x20; code <= 0x10ffff; code = code == 0xd7ff ? 0xe000 : code + 1) {
        if (code == '"' || code == '\\') continue;
        std::string bytes;
        AppendUtf8(code, bytes);
        GrammarAutomaton::StateId state = start;
        for (const char byte : bytes)
          state = state < 0 ? state : automaton.Step(state, static_cast<unsigned char>(byte));
        const bool in = std::any_of(ranges.begin(), ranges.end(),
                                    [&](const Range& r) { return code >= r.first && code <= r.last; });
        wrong += (state >= 0 && automaton.complete(state)) != (in != complement);
      }
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("grammar: values of an enumeration that begin alike") {
  const std::string schema =
      R"({"enum": ["on", "off", "off now", "", 1, 10, 100, -1, 1.5, true, null, [1], [1, 2], {"a": "on"}, "on", 1]})";
  for (const char* in : {"\"on\"", "\"off\"", "\"off now\"", "\"\"", "1", "10", "100", "-1", "1.5", "true", "null",
                         "[1]", "[1, 2]", "{\"a\": \"on\"}"}) {
    CHECK_MESSAGE(Takes(schema, in), in);
  }
  for (const char* out : {"\"o\"", "\"off \"", "1000", "1.", "-", "[1", "false", "tru"})
    CHECK_FALSE_MESSAGE(Takes(schema, out), out);
  CHECK(Takes(R"({"type": ["string", "integer"], "enum": ["a", 1, 1.5, null]})", "1"));
  CHECK_FALSE(Takes(R"({"type": ["string", "integer"], "enum": ["a", 1, 1.5, null]})", "1.5"));
}

TEST_CASE("grammar: arrays") {
  const std::string three =
      R"({"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}, "minItems": 1, "maxItems": 3})";
  CHECK(Takes(three, "[1]"));
  CHECK(Takes(three, "[1, 2,3]"));
  CHECK_FALSE(Takes(three, "[]"));
  CHECK_FALSE(Takes(three, "[1, 2, 3, 4]"));
  CHECK_FALSE(Takes(three, "[1,]"));
  const std::string tuple =
      R"({"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}], "items": false, "minItems": 1})";
  CHECK(Takes(tuple, R"(["a"])"));
  CHECK(Takes(tuple, R"(["a", true])"));
  CHECK_FALSE(Takes(tuple, R"(["a", true, 1])"));
  CHECK_FALSE(Takes(tuple, "[]"));
  const std::string open =
      R"({"type": "array", "prefixItems": [{"type": "null"}], "items": {"const": 5}, "minItems": 2})";
  CHECK(Takes(open, "[null, 5, 5]"));
  CHECK_FALSE(Takes(open, "[null]"));
}

TEST_CASE("grammar: objects, optional members and maps") {
  const std::string schema =
      R"({"type": "object", "properties": {"a": {"type": "null"}, "b": {"const": 1}, "c": {"const": "x"}}, "required": ["b"]})";
  for (const char* in :
       {R"({"b": 1})", R"({"a": null, "b": 1})", R"({"b": 1, "c": "x"})", R"({"a":null,"b":1,"c":"x"})"})
    CHECK_MESSAGE(Takes(schema, in), in);
  for (const char* out :
       {"{}", R"({"a": null})", R"({, "b": 1})", R"({"b": 1,})", R"({"b": 1, "d": 2})", R"({"b": 1, "b": 1})"})
    CHECK_FALSE_MESSAGE(Takes(schema, out), out);
  CHECK(Takes(R"({"type": "object", "properties": {}})", "{}"));
  CHECK_FALSE(Takes(R"({"type": "object", "properties": {}})", R"({"a": 1})"));
  CHECK(Takes(R"({"properties": {"\"q\\": {"const": 1}}})", R"({"\"q\\": 1})"));
  const std::string map = R"({"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 2})";
  CHECK(Takes(map, "{}"));
  CHECK(Takes(map, R"({"x": true, "y": false})"));
  CHECK_FALSE(Takes(map, R"({"x": true, "y": false, "z": true})"));
  CHECK(Takes("true", R"({"deep": [1, {"er": null}], "s": "t"})"));
  CHECK(Takes(
      R"({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"const": 2}}}]})",
      R"({"a": 1, "b": 2})"));
}

TEST_CASE("grammar: recursion by reference") {
  const std::string tree = R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
      "v": {"type": "integer", "minimum": 0, "maximum": 9}, "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}}, "required": ["v"]}}})";
  CHECK(Takes(tree, R"({"v": 1, "kids": [{"v": 2}, {"v": 3, "kids": []}]})"));
  CHECK_FALSE(Takes(tree, R"({"v": 1, "kids": [{"v": 2}, {"v": 3}, {"v": 4}]})"));
}

TEST_CASE("grammar: what no value fits is never begun") {
  // `a` fits nothing and is optional; `x` would never end and is optional.
  const std::string impossible = R"({"properties": {"a": false, "b": {"type": "null"}}})";
  CHECK(Fits(impossible, R"({"b": null})"));
  GrammarState state(Compile(impossible));
  REQUIRE(state.Accept(Small().tokenizer.Find("{")).ok());
  REQUIRE(state.Accept(Small().tokenizer.Find("\"")).ok());
  CHECK_FALSE(Bit(state.Allowed(), Small().tokenizer.Find("a")));
  const std::string endless =
      R"({"$defs": {"i": {"type": "object", "properties": {"a": {"$ref": "#/$defs/i"}}, "required": ["a"]}},
                                  "type": "object", "properties": {"x": {"$ref": "#/$defs/i"}}})";
  CHECK(Takes(endless, "{}"));
  CHECK_FALSE(Fits(endless, R"({"x": {"a": {}}})"));
  GrammarState object(Compile(endless));
  REQUIRE(object.Accept(Small().tokenizer.Find("{")).ok());
  CHECK(OnlyByte(object, '}'));
  // A choice between what ends and what does not.
  CHECK(Takes(
      R"({"anyOf": [{"type": "null"}, false, {"type": "array", "items": false, "prefixItems": [false], "minItems": 1}]})",
      "null"));
}

TEST_CASE("grammar: values nest 64 levels deep and no deeper") {
  const auto nested = [](int levels) {
    return std::string(static_cast<size_t>(levels), '[') + std::string(static_cast<size_t>(levels), ']');
  };
  CHECK(Fits("true", nested(64)));
  CHECK_FALSE(Fits("true", nested(65)));
  const std::string list =
      R"({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/n"}]}}, "required": ["next"]}}})";
  const auto chain = [](int links) {
    std::string text = "null";
    for (int i = 0; i < links; ++i) text = "{\"next\": " + text + "}";
    return text;
  };
  CHECK(Fits(list, chain(64)));
  CHECK_FALSE(Fits(list, chain(65)));
  // Whoever opens as long as it is allowed can close.
  GrammarState state(Compile(list));
  std::string text;
  for (int i = 0; i < 3000 && !state.complete(); ++i) {
    const uint64_t* allowed = state.Allowed();
    int32_t token = -1;
    for (int32_t id = Small().tokenizer.size() - 1; id >= 0; --id) {
      if (Bit(allowed, id) && (token < 0 || Small().tokenizer.Bytes(id)[0] == '{')) token = id;
    }
    REQUIRE(token >= 0);
    REQUIRE(state.Accept(token).ok());
    text += Small().tokenizer.Bytes(token);
  }
  CHECK(state.complete());
  CHECK(text.find("null") != std::string::npos);
}

TEST_CASE("grammar: the mask is exactly the tokens that can be taken") {
  std::mt19937 random(9);
  for (const char* schema : {
           kCalls,
           R"({"type": "string", "minLength": 3, "maxLength": 20})",
           R"({"type": "array", "items": {"type": "string", "maxLength": 30}, "minItems": 2, "maxItems": 3})",
           R"({"type": "string", "pattern": "(ab|a){2,40}c"})",
           R"({"type": "number", "minimum": -5, "maximum": 120.5})",
           "true",
       }) {
    CAPTURE(schema);
    const auto grammar = Compile(schema);
    for (int walk = 0; walk < 4; ++walk) {
      ExactWalk exact(grammar, Small());
      for (int step = 0; step < 40; ++step) {
        const std::vector<int32_t> tokens = exact.Check();
        if (tokens.empty()) break;
        exact.Take(tokens[random() % tokens.size()]);
      }
    }
  }
  // A vocabulary with long tokens, and every distance there is from a string's bounds.
  const Vocabulary gemma("build/gemma-vocabulary.gguf");
  ExactWalk exact(Compile(R"({"type": "string", "minLength": 30, "maxLength": 80})", gemma), gemma);
  exact.Take(gemma.tokenizer.Find("\""));
  for (int length = 0; length < 80; ++length) {
    CHECK(exact.Check().size() > 0);
    exact.Take(gemma.tokenizer.Find("a"));
  }
  exact.Check();
}

TEST_CASE("grammar: schemas made to be expensive") {
  // Twice as many stacks with every bracket: some are left out, and what is written still fits.
  const std::string twins =
      R"({"$ref": "#/$defs/x", "$defs": {"x": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/x"}},
      {"type": "array", "items": {"$ref": "#/$defs/x"}, "minItems": 1}, {"type": "null"}]}}})";
  CHECK(Takes(twins, std::string(24, '[') + "null" + std::string(24, ']')));
  // Any of 500 places may be the one that counts.
  const std::string places = R"({"type": "string", "pattern": "a.{500}z"})";
  std::string text(700, 'a');
  text += 'z';
  CHECK(Takes(places, "\"" + text + "\""));
  CHECK_FALSE(Takes(places, "\"" + text.substr(300) + "\""));
  // References that lie in each other further than the stack would carry, and properties and choices by the thousand.
  std::string chain = "{\"$ref\": \"#/$defs/0\", \"$defs\": {";
  for (int i = 0; i < 5000; ++i)
    chain += "\"" + std::to_string(i) + "\":{\"items\":{\"$ref\":\"#/$defs/" + std::to_string(i + 1) + "\"}},";
  CHECK(CompileError(chain + "\"5000\": {}}}").message().find("nested too deeply") != std::string::npos);
  std::string properties = "{\"properties\": {", choices = "{\"anyOf\": [";
  for (int i = 0; i < 3000; ++i) {
    properties += (i ? ",\"p" : "\"p") + std::to_string(i) + "\":true";
    choices += i ? ",true" : "true";
  }
  CHECK(CompileError(properties + "}}").message().find("#/properties: more than 1024") != std::string::npos);
  CHECK(CompileError(choices + "]}").message().find("#/anyOf: more than 1024") != std::string::npos);
  std::string words = "{\"enum\": [";
  for (int i = 0; i < 12'000; ++i) words += (i ? ",\"" : "\"") + std::to_string(i * 7919LL % 100'000) + "\"";
  CHECK(Takes(words + "]}", "\"7919\""));
}

TEST_CASE("grammar: a long reply of unbounded parts stays small") {
  GrammarState state(Compile(
      R"({"type": "array", "items": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 200000}}})"));
  const Tokenizer& tokenizer = Small().tokenizer;
  const auto feed = [&](const std::string& text) {
    const std::vector<int32_t> tokens = tokenizer.Encode(text, false).value();
    for (const int32_t token : tokens) {
      CAPTURE(std::string(tokenizer.Bytes(token)));
      REQUIRE(Bit(state.Allowed(), token));
      REQUIRE(state.Accept(token).ok());
    }
  };
  feed("[{\"k\": \"");
  for (int i = 0; i < 2000; ++i) feed("kitchen ");
  feed("\"}, {}]");
  CHECK(state.complete());
}

TEST_CASE("grammar: broken schemas are refused, and none of them breaks anything") {
  std::mt19937 random(11);
  const std::string seeds[] = {
      kCalls, R"({"type": "string", "pattern": "^[a-z]{2,5}(x|\\d+)?$"})",
      R"({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "maxItems": 3}}})",
      R"({"type": ["number", "null"], "minimum": -1.5, "exclusiveMaximum": 100})"};
  const std::string alphabet = "{}[]\",:0123456789.-eE\\u$#/^*+?|()tfn aA\x80\xff";
  int compiled = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string schema = seeds[random() % 4];
    for (uint32_t edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t at = random() % schema.size();
      const uint32_t kind = random() % 3;
      if (kind == 0) schema[at] = alphabet[random() % alphabet.size()];
      if (kind == 1) schema.insert(at, 1, alphabet[random() % alphabet.size()]);
      if (kind == 2) schema.erase(at, 1 + random() % 4);
    }
    const auto grammar = Grammar::Compile(schema, Small().trie);
    if (!grammar.ok()) {
      CHECK(grammar.status().code() == Code::SCHEMA_INVALID);
      continue;
    }
    ++compiled;
    CAPTURE(schema);
    GrammarState state(*grammar);
    for (int step = 0; step < 8; ++step) {
      const uint64_t* allowed = state.Allowed();
      std::vector<int32_t> tokens;
      for (int32_t id = 0; id < Small().tokenizer.size(); ++id) {
        if (Bit(allowed, id)) tokens.push_back(id);
      }
      REQUIRE(!tokens.empty());
      const int32_t token = tokens[random() % tokens.size()];
      if (Small().tokenizer.Bytes(token).empty()) break;
      REQUIRE(state.Accept(token).ok());
    }
  }
  CHECK(compiled > 100);
}

TEST_CASE("grammar: what cannot be enforced is refused by name and place") {
  const auto message = [](const std::string& schema) {
    const Status status = CompileError(schema);
    CHECK_MESSAGE(status.code() == Code::SCHEMA_INVALID, schema);
    return status.message();
  };
  CHECK(message(R"({"type": "object", "properties": {"a": {"type": "string", "format": "date"}}})")
            .find("#/properties/a: the keyword \"format\"") != std::string::npos);
  CHECK(message(R"({"not": {}})").find("\"not\"") != std::string::npos);
  CHECK(message(R"({"type": "date"})").find("#/type") != std::string::npos);
  for (const char* bad :
       {"", "{", "nul", "[]", "5", "{\"a\": 1, \"a\": 2}", "{\"type\": []}", "{\"enum\": []}", "{\"anyOf\": []}",
        "false", "{\"$ref\": \"#/nowhere\"}", "{\"$ref\": \"#\"}", "{\"$ref\": \"http://x\"}",
        "{\"anyOf\": [{\"$ref\": \"#\"}]}", "{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 4}",
        "{\"type\": \"integer\", \"minimum\": 1.2, \"maximum\": 1.8}",
        "{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 2}", "{\"type\": \"string\", \"minLength\": -1}",
        "{\"type\": \"object\", \"properties\": {}, \"required\": [\"x\"]}",
        "{\"type\": \"integer\", \"multipleOf\": 3}", "{\"type\": \"array\", \"minItems\": 2, \"items\": false}",
        "{\"const\": 1, \"unknown\": 2}", "{\"const\": 15, \"maximum\": 10}", "{\"const\": 5, \"type\": \"string\"}",
        "{\"const\": 1, \"enum\": [1]}", "{\"allOf\": [false, {\"properties\": {}}]}",
        "{\"properties\": {}, \"additionalProperties\": {\"type\": \"null\"}}",
        "{\"type\": \"number\", \"minimum\": 1e400}", "{\"type\": \"number\", \"minimum\": 1e3}",
        "{\"type\": \"integer\", \"exclusiveMinimum\": true}",
        // Requires itself: no finite value.
        "{\"type\": \"object\", \"properties\": {\"a\": {\"$ref\": \"#\"}}, \"required\": [\"a\"]}"}) {
    message(bad);
  }
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "{\"items\":";
  message(deep);
  message(std::string(300 * 1024, ' '));
  std::string wide = "{\"enum\": [";
  for (int i = 0; i < 60'000; ++i) wide += "1,";
  CHECK(CompileError(wide + "1]}").ok());
}

TEST_CASE("grammar: random replies always parse, end, and are taken again by another tokenisation") {
  const char* schemas[] = {
      kCalls,
      R"({"type": "array", "items": {"type": ["integer", "null", "boolean"], "minimum": -50, "maximum": 50}, "maxItems": 5})",
      R"({"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}, "b": {"type": "number"}, "c": {"$ref": "#/properties/a"}}})",
      R"({"type": "string", "pattern": "^[A-Z][a-z]{1,4}( [0-9]{2})?$"})",
      R"({"type": "number", "minimum": -2.5, "maximum": 100})",
      R"({"type": "object", "additionalProperties": {"enum": [1, "two", null, {"x": [3]}]}, "maxProperties": 3})",
      "true",
  };
  std::mt19937 random(5);
  for (const char* schema : schemas) {
    CAPTURE(schema);
    const auto grammar = Compile(schema);
    for (int i = 0; i < 30; ++i) {
      const std::string reply = RandomReply(grammar, Small(), random);
      CAPTURE(reply);
      CHECK(ParseJson(reply[0] == '{' || reply[0] == '[' ? "[" + reply + "]" : "{\"v\": " + reply + "}")
                .status()
                .message()
                .find("no JSON") == std::string::npos);
      CHECK(Takes(schema, reply));
    }
  }
}

TEST_CASE("grammar: the next reply starts over, wherever the one before stopped") {
  GrammarState state(Compile(kCalls));
  const std::vector<int32_t> tokens =
      Small().tokenizer.Encode(R"({"name": "set_light", "arguments": {"room": "kitchen", "on": true}})", false).value();
  for (size_t stop = 0; stop <= tokens.size(); ++stop) {
    for (size_t i = 0; i < stop; ++i) REQUIRE(state.Accept(tokens[i]).ok());
    CHECK(state.complete() == (stop == tokens.size()));
    state.Restart();
    GrammarState fresh(Compile(kCalls));
    const size_t words = static_cast<size_t>((Small().tokenizer.size() + 63) / 64);
    CHECK(std::equal(state.Allowed(), state.Allowed() + words, fresh.Allowed()));
  }
}

TEST_CASE("grammar: a token that is not allowed changes nothing") {
  GrammarState state(Compile(R"({"const": "ab"})"));
  const Tokenizer& tokenizer = Small().tokenizer;
  CHECK(state.Accept(tokenizer.Find("x")).code() == Code::GRAMMAR_DEAD_END);
  CHECK(state.Accept(tokenizer.eos()).code() == Code::GRAMMAR_DEAD_END);
  CHECK(state.Accept(-1).code() == Code::GRAMMAR_DEAD_END);
  const std::vector<int32_t> tokens = tokenizer.Encode("\"ab\"", false).value();
  for (const int32_t token : tokens) CHECK(state.Accept(token).ok());
  CHECK(state.complete());
}

TEST_CASE("grammar: Gemma's own vocabulary") {
  const Vocabulary gemma("build/gemma-vocabulary.gguf");
  CHECK(Takes(kCalls, R"({"name": "set_temperature", "arguments": {"room": "living_room", "celsius": 21}})", gemma));
  CHECK_FALSE(
      Takes(kCalls, R"({"name": "set_temperature", "arguments": {"room": "living_room", "celsius": 31}})", gemma));
  std::mt19937 random(6);
  const auto grammar = Compile(kCalls, gemma);
  for (int i = 0; i < 3; ++i) CHECK(Takes(kCalls, RandomReply(grammar, gemma, random), gemma));
}

}  // namespace hearth
