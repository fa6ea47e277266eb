// The parser of schemas: what JSON is, what it is not, and what is too much.
#include "addon/text/json.h"

#include <doctest/doctest.h>

#include <string>

namespace hearth {
namespace {

std::string Redumped(const std::string& text) {
  const StatusOr<Json> value = ParseJson(text);
  REQUIRE_MESSAGE(value.ok(), value.status().message());
  return value->Dump();
}

}  // namespace

TEST_CASE("json: writes what json.dumps(..., ensure_ascii=False) writes") {
  for (const char* text : {"null", "true", "false", "0", "-0", "-12.5e+3", "1e400", "\"\"", "[]", "{}",
                           "[1, [2, []], {}]", R"({"b": 1, "a": [null, {"": "x"}]})", R"("\"\\\b\f\n\r\t\u0000\u001f")",
                           "\"\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\xa5/\""}) {
    CHECK(Redumped(text) == text);
  }
  CHECK(Redumped(" \t\r\n{ \"a\" :[ 1 ,2 ] } ") == R"({"a": [1, 2]})");
  CHECK(Redumped(R"("\u00e9\ud83d\udd25\/\u0041")") == "\"\xc3\xa9\xf0\x9f\x94\xa5/A\"");
}

TEST_CASE("json: what is none says where") {
  for (const char* text : {"",
                           " ",
                           "nul",
                           "truefalse",
                           "01",
                           "-",
                           "+1",
                           ".5",
                           "1.",
                           "1e",
                           "1e+",
                           "0x1",
                           "NaN",
                           "[1,]",
                           "[1 2]",
                           "[",
                           "]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{a: 1}",
                           "{\"a\": 1,}",
                           "{\"a\": 1",
                           "\"",
                           "\"\\",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\ud83d\"",
                           "\"\\ud83d\\ud83d\"",
                           "\"\\ud83d\\u0041\"",
                           "\"\\udd25\"",
                           "\"a\nb\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "'a'",
                           "1 1",
                           "// a\n1"}) {
    CAPTURE(std::string(text));
    const Status status = ParseJson(text).status();
    CHECK(status.code() == Code::SCHEMA_INVALID);
    CHECK(status.message().find("expected at character") != std::string::npos);
  }
  CHECK(ParseJson(std::string("1\0", 2)).status().code() == Code::SCHEMA_INVALID);
  CHECK(ParseJson("[1, x]").status().message() == "the schema is no JSON: a value expected at character 4");
}

TEST_CASE("json: too deep, too long, a name twice") {
  const auto nested = [](size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  CHECK(ParseJson(nested(64)).ok());
  CHECK(ParseJson(nested(66)).status().message() == "the schema is nested more than 64 levels deep");
  CHECK(ParseJson(std::string(200'000, '[')).status().code() == Code::SCHEMA_INVALID);
  CHECK(ParseJson(std::string(256 * 1024 - 1, ' ') + "1").ok());
  CHECK(ParseJson(std::string(256 * 1024, ' ') + "1").status().code() == Code::SCHEMA_INVALID);
  CHECK(ParseJson(R"({"a": 1, "\u0061": 2})").status().message() == "the schema names \"a\" twice in one object");
}

}  // namespace hearth
