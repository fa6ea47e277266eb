// What of a prompt need not be computed again: the cache by itself, and sessions that resume.
#include "addon/prefix_cache.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "addon/runtime.h"
#include "addon/soft_token_cache.h"
#include "addon/text/grammar.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::Golden;
using test::MaxDifference;
using test::OpenGguf;

// Logits after a restored prefix against those of an uninterrupted run: the bound of chunks and snapshots.
constexpr float kTolerance = 1e-4f;
constexpr int64_t kPositions = 50;

using Ids = std::vector<int32_t>;
using Kind = PrefixCache::Kind;

const std::vector<int64_t> kWidths = {64, 64};

std::vector<Digest> ChainOf(const std::string& text) {
  const ContentHash hash(1, 2);
  std::vector<Digest> chain;
  for (const char c : text) chain.push_back(hash.Next(chain.empty() ? hash.Start() : chain.back(), c, {}));
  return chain;
}

std::shared_ptr<const PrefixCache::Entry> EntryOf(const std::string& text, size_t kv_bytes, int64_t floor = 0,
                                                  const std::vector<int64_t>& widths = kWidths) {
  const auto entry = std::make_shared<PrefixCache::Entry>();
  entry->kv_widths = widths;
  entry->chain = ChainOf(text);
  entry->rewind_floor = floor;
  REQUIRE(entry->kv.Reset(kv_bytes).ok());
  return entry;
}

int64_t Saved(const PrefixCache& cache, const std::string& text) {
  return cache.Find(kWidths, ChainOf(text), static_cast<int64_t>(text.size())).positions;
}

std::shared_ptr<Engine> OpenEngine(const std::string& path, uint64_t cache_bytes = uint64_t{64} << 20) {
  EngineOptions options;
  options.model_path = path;
  options.exact = true;  // a key rounded to F16 may round the other way when its chunk is another
  options.threads = 2;
  options.prefix_cache_bytes = cache_bytes;
  StatusOr<std::shared_ptr<Engine>> engine = Engine::Open(options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return *engine;
}

constexpr char kE2b[] = "test/fixtures/models/e2b-narrow.gguf";
constexpr char kE4b[] = "test/fixtures/models/e4b-narrow.gguf";

// With the ids of pictures and sounds, whose rows the tests make themselves.
std::shared_ptr<Engine> OpenNano(uint64_t cache_bytes = uint64_t{64} << 20) {
  EngineOptions options;
  options.model_path = "daemon/demo/model/nano.gguf";
  options.multimodal_path = "daemon/demo/model/mmproj-nano.gguf";
  options.exact = true;
  options.threads = 2;
  options.prefix_cache_bytes = cache_bytes;
  StatusOr<std::shared_ptr<Engine>> engine = Engine::Open(options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  return *engine;
}

std::unique_ptr<Session> NewSession(Engine& engine) {
  StatusOr<std::unique_ptr<Session>> session = engine.NewSession();
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  return std::move(*session);
}

Ids GoldenIds(const std::string& path) {
  const auto golden = OpenGguf(path.substr(0, path.size() - 5) + ".golden.gguf");
  const int32_t* ids = Golden<int32_t>(*golden, "input_ids");
  return Ids(ids, ids + kPositions);
}

using Pictures = std::vector<const SoftTokens*>;

int64_t Resume(Session& session, const Ids& ids, const Pictures& soft = {}, const ResumeOptions& options = {}) {
  const StatusOr<int64_t> reused = session.Resume(ids, soft, options);
  REQUIRE_MESSAGE(reused.ok(), reused.status().message());
  CHECK(session.position() == reused.value());
  CHECK(session.reused() == reused.value());
  CHECK(session.position() + session.pending() == static_cast<int64_t>(ids.size()));
  CHECK(session.pending() >= 1);
  CHECK(session.logits().empty());
  return *reused;
}

std::vector<float> Prefill(Session& session, int64_t chunk = 1000) {
  StatusOr<int64_t> left = 1;
  while (left.value() > 0) {
    left = session.Advance(chunk);
    REQUIRE_MESSAGE(left.ok(), left.status().message());
  }
  return {session.logits().begin(), session.logits().end()};
}

// The uninterrupted run: an engine that keeps nothing, a session that has seen nothing.
std::vector<float> Truth(Engine& engine, const Ids& ids, const Pictures& soft = {}, const char* slice = "full") {
  const auto session = NewSession(engine);
  SliceOptions options;
  options.name = slice;
  REQUIRE(session->SetSlice(options).ok());
  REQUIRE(session->Append(ids, soft).ok());
  return Prefill(*session);
}

void CheckSame(const std::vector<float>& logits, const std::vector<float>& truth) {
  REQUIRE(logits.size() == truth.size());
  CHECK(MaxDifference(logits.data(), truth.data(), static_cast<int64_t>(truth.size())) <= kTolerance);
}

// Random rows where the encoder's would be; nano is as wide as its rows.
SoftTokens RowsOf(const Engine& engine, int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  SoftTokens tokens;
  tokens.count = count;
  tokens.rows.resize(static_cast<size_t>(count * engine.info().hidden));
  for (float& value : tokens.rows) value = normal(random);
  return tokens;
}

Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Of a prefix cache: keys and values have seven eighths of it.
uint64_t RoomForThree() {
  const auto engine = OpenEngine(kE2b);
  const auto session = NewSession(*engine);
  Resume(*session, GoldenIds(kE2b));
  Prefill(*session);
  session->Checkpoint();
  return (3 * engine->reuse().bytes + 100) * 8 / 7;
}

Ids Text(const Engine& engine, const std::string& text) { return engine.Tokenize(text, true).value(); }

}  // namespace

TEST_CASE("hashes: equal for equal content, different for everything else") {
  const ContentHash hash(1, 2), other(3, 4);
  const uint8_t bytes[20] = {1, 2, 3};
  uint8_t changed[20];
  const Digest digest = hash.Of(ContentKind::kPixels, bytes, sizeof bytes);
  CHECK(digest == hash.Of(ContentKind::kPixels, bytes, sizeof bytes));
  CHECK(digest != other.Of(ContentKind::kPixels, bytes, sizeof bytes));
  CHECK(digest != hash.Of(ContentKind::kSamples, bytes, sizeof bytes));
  CHECK(digest != hash.Of(ContentKind::kPixels, bytes, sizeof bytes - 1));
  for (size_t bit = 0; bit < 8 * sizeof bytes; ++bit) {
    std::memcpy(changed, bytes, sizeof bytes);
    changed[bit / 8] ^= 1 << bit % 8;
    const Digest of_changed = hash.Of(ContentKind::kPixels, changed, sizeof changed);
    CHECK(of_changed.a != digest.a);
    CHECK(of_changed.b != digest.b);
  }
  CHECK(hash.Next(digest, 1, {}) != hash.Next(digest, 2, {}));
  CHECK(hash.Next(digest, 1, {}) != hash.Next(digest, 1, {0, 1}));
  CHECK(ContentHash().Start() != ContentHash().Start());
}

TEST_CASE("chains share what their contents share") {
  CHECK(PrefixCache::Shared(ChainOf(""), ChainOf("abc")) == 0);
  CHECK(PrefixCache::Shared(ChainOf("xbc"), ChainOf("abc")) == 0);
  CHECK(PrefixCache::Shared(ChainOf("abc"), ChainOf("abcdef")) == 3);
  CHECK(PrefixCache::Shared(ChainOf("abcxef"), ChainOf("abcdef")) == 3);
  CHECK(PrefixCache::Shared(ChainOf("abcdef"), ChainOf("abcdef")) == 6);
}

TEST_CASE("the entry that saves most, for the same widths and not below its rewind floor") {
  PrefixCache cache(1 << 20);
  const auto system = EntryOf("system:", 100), turn = EntryOf("system:hello", 100, 9);
  cache.Insert(system, Kind::kLasting);
  cache.Insert(turn, Kind::kLasting);
  CHECK(cache.stats().entries == 2);
  CHECK(Saved(cache, "system:hello, you") == 12);
  CHECK(Saved(cache, "system:he who") == 9);
  // Of the longer one eight are shared, but it cannot go back that far.
  const PrefixCache::Match match = cache.Find(kWidths, ChainOf("system:himself"), 14);
  CHECK(match.entry == system);
  CHECK(match.positions == 7);
  CHECK(match.shared == 8);
  CHECK(cache.Find(kWidths, ChainOf("system:hello"), 11).positions == 11);
  CHECK(cache.Find(kWidths, ChainOf("system:hello"), 8).positions == 7);
  CHECK(cache.Find(std::vector<int64_t>{64, 32}, ChainOf("system:hello"), 12).entry == nullptr);
  CHECK(Saved(cache, "System:") == 0);
}

TEST_CASE("an entry that a longer one can stand for goes, one below its floor stays") {
  PrefixCache cache(1 << 20);
  cache.Insert(EntryOf("abc", 100), Kind::kLasting);
  cache.Insert(EntryOf("abcdef", 100), Kind::kBrief);
  CHECK(cache.stats().entries == 1);
  CHECK(Saved(cache, "abcx") == 3);
  cache.Insert(EntryOf("abcdefghi", 100, 7), Kind::kLasting);
  CHECK(cache.stats().entries == 2);
  cache.Insert(EntryOf("abcdefghi", 100, 0, {32, 32}), Kind::kLasting);
  CHECK(cache.stats().entries == 3);
  CHECK(cache.Serves(kWidths, ChainOf("abcdefgh"), 0));
  CHECK(cache.Serves(kWidths, ChainOf("ab"), 0));
  CHECK(cache.Serves(kWidths, ChainOf("abcdefghij"), 1));
  CHECK_FALSE(cache.Serves(kWidths, ChainOf("abcdefghij"), 0));
  CHECK(cache.stats().evicted == 0);
}

TEST_CASE("memory is bounded; what was used least recently goes first") {
  const uint64_t one = EntryOf("a", 10'000)->bytes();
  PrefixCache cache(3 * one);
  const auto a = EntryOf("a", 10'000), b = EntryOf("b", 10'000), c = EntryOf("c", 10'000);
  cache.Insert(a, Kind::kLasting);
  cache.Insert(b, Kind::kLasting);
  cache.Insert(c, Kind::kLasting);
  CHECK(cache.stats().bytes == 3 * one);
  cache.Used(a);
  cache.Insert(EntryOf("d", 10'000), Kind::kLasting);
  CHECK(cache.stats().bytes == 3 * one);
  CHECK(cache.stats().evicted == 1);
  CHECK(Saved(cache, "a") == 1);
  CHECK(Saved(cache, "b") == 0);
  CHECK(Saved(cache, "c") == 1);
  // A large one pushes out several, one that is too large none.
  cache.Insert(EntryOf("e", 20'001), Kind::kLasting);
  CHECK(cache.stats().bytes <= 3 * one);
  CHECK(Saved(cache, "e") == 1);
  CHECK(Saved(cache, "a") == 0);
  const uint64_t entries = cache.stats().entries;
  cache.Insert(EntryOf("f", 40'000), Kind::kLasting);
  CHECK(cache.stats().entries == entries);
  CHECK(Saved(cache, "f") == 0);
  // Whoever holds an entry keeps it.
  CHECK(b->chain == ChainOf("b"));
  PrefixCache off(0);
  off.Insert(a, Kind::kLasting);
  CHECK(off.stats().entries == 0);
}

TEST_CASE("a stream of pictures nobody asks about again leaves the conversations alone") {
  const uint64_t one = EntryOf("a", 10'000)->bytes();
  PrefixCache cache(8 * one);
  for (const char* chat : {"A", "B", "C", "D", "E", "F"}) cache.Insert(EntryOf(chat, 10'000), Kind::kLasting);
  const auto asked = EntryOf("x", 10'000);
  cache.Insert(asked, Kind::kBrief);
  cache.Used(asked);
  for (char frame = '0'; frame <= '9'; ++frame) cache.Insert(EntryOf(std::string(1, frame), 10'000), Kind::kBrief);
  // Two frames of ten are left, a quarter; to make that room one conversation went.
  CHECK(Saved(cache, "7") == 0);
  CHECK(Saved(cache, "A") == 0);
  for (const char* kept : {"B", "C", "D", "E", "F", "x", "8", "9"}) {
    CAPTURE(kept);
    CHECK(Saved(cache, kept) == 1);
  }
  CHECK(cache.stats().bytes <= 8 * one);
}

TEST_CASE("the second prompt computes only what it does not share, and says what the uninterrupted run says") {
  const auto plain = OpenEngine(kE2b, 0), engine = OpenEngine(kE2b);
  const Ids ids = GoldenIds(kE2b);
  const Ids head(ids.begin(), ids.begin() + 30), first = head + Ids{5, 6, 7, 8}, second = head + Ids{9, 10, 11, 5, 6};
  const std::vector<int64_t> after_head = {30};
  const auto one = NewSession(*engine), other = NewSession(*engine);
  CHECK(Resume(*one, first, {}, {nullptr, after_head}) == 0);
  CheckSame(Prefill(*one), Truth(*plain, first));
  CHECK(engine->reuse().entries == 1);

  SUBCASE("in another session") {
    for (const int64_t chunk : {1, 3, 1000}) {
      CHECK(Resume(*other, second, {}, {nullptr, after_head}) == 30);
      CheckSame(Prefill(*other, chunk), Truth(*plain, second));
      CHECK(other->Rewind(0).ok());
    }
    CHECK(engine->reuse().entries == 1);
    CHECK(engine->reuse().hits == 3);
    CHECK(engine->reuse().resumes == 4);
    CHECK(engine->reuse().positions == 90);
  }
  SUBCASE("in the same session, from its own timeline") {
    CHECK(Resume(*one, second) == 30);
    CheckSame(Prefill(*one), Truth(*plain, second));
    const Ids longer = second + Ids{7, 8};
    CHECK(Resume(*one, longer) == 35);
    CheckSame(Prefill(*one), Truth(*plain, longer));
  }
  SUBCASE("the same prompt again: the last token is computed, so that there are logits") {
    CHECK(Resume(*one, first) == 33);
    CHECK(one->logits().empty());
    CheckSame(Prefill(*one), Truth(*plain, first));
    CHECK(Resume(*other, first) == 30);
  }
  SUBCASE("a prompt that ends within what is cached") {
    const Ids within(ids.begin(), ids.begin() + 21);
    CHECK(Resume(*other, within) == 20);
    CheckSame(Prefill(*other), Truth(*plain, within));
  }
  SUBCASE("what differs at the first token shares nothing") {
    Ids foreign = first;
    foreign[0] ^= 1;
    CHECK(Resume(*other, foreign) == 0);
    CheckSame(Prefill(*other), Truth(*plain, foreign));
  }
}

TEST_CASE("the next turn goes on from the end of the reply") {
  const auto plain = OpenEngine(kE2b, 0), engine = OpenEngine(kE2b);
  Ids ids = GoldenIds(kE2b);
  const auto session = NewSession(*engine);
  Resume(*session, ids);
  Prefill(*session);
  for (int i = 0; i < 20; ++i) {
    const Sampled sampled = session->Sample({}).value();
    REQUIRE_FALSE(sampled.end);
    ids.push_back(sampled.token);
    REQUIRE(session->Advance(1).value() == 0);
  }
  session->Checkpoint();
  session->Checkpoint();
  CHECK(engine->reuse().entries == 1);
  const Ids turn = ids + Ids{5, 6, 7};
  const auto other = NewSession(*engine);
  CHECK(Resume(*other, turn) == 70);
  CheckSame(Prefill(*other), Truth(*plain, turn));
  CHECK(Resume(*session, turn) == 70);
  CheckSame(Prefill(*session), Truth(*plain, turn));
}

TEST_CASE("where two long prompts part, a third one can go on, however far back that is") {
  const auto plain = OpenEngine(kE2b, 0), engine = OpenEngine(kE2b);
  const Ids ids = GoldenIds(kE2b);
  const auto prompt = [&](int32_t token) {
    Ids all;
    for (int i = 0; i < 6; ++i) all = all + ids;
    return all + Ids(400, token);
  };
  std::vector<std::unique_ptr<Session>> sessions;
  for (int32_t token = 5; token < 8; ++token) {
    sessions.push_back(NewSession(*engine));
    const int64_t reused = Resume(*sessions.back(), prompt(token));
    CHECK((token == 7 ? reused == 300 : reused <= 300));
    CheckSame(Prefill(*sessions.back()), Truth(*plain, prompt(token)));
    sessions.back()->Checkpoint();
  }
}

TEST_CASE(
    "a long prompt that ends a little before what was kept goes on from there, one that ends further back does not") {
  const auto plain = OpenEngine(kE2b, 0), engine = OpenEngine(kE2b);
  Ids ids;
  for (int i = 0; i < 20; ++i) ids = ids + GoldenIds(kE2b);
  const auto session = NewSession(*engine);
  Resume(*session, ids);
  Prefill(*session);
  session->Checkpoint();
  const auto shorter = [&](size_t by) { return Ids(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(by)); };
  for (const size_t by : {0, 1, 20, 31}) {
    CAPTURE(by);
    const auto other = NewSession(*engine);
    CHECK(Resume(*other, shorter(by)) == 999 - static_cast<int64_t>(by));
    CheckSame(Prefill(*other), Truth(*plain, shorter(by)));
    // What was taken from the cache can be kept again, with what is left of the slack.
    other->Checkpoint();
    CHECK(Resume(*NewSession(*engine), shorter(by) + Ids{5, 6}) == 1000 - static_cast<int64_t>(by));
  }
  const auto other = NewSession(*engine);
  CHECK(Resume(*other, shorter(100)) == 0);
  CheckSame(Prefill(*other), Truth(*plain, shorter(100)));
  // Its own timeline reaches further back than an entry does, but not everywhere.
  CHECK(Resume(*session, shorter(300)) == 699);
  CheckSame(Prefill(*session), Truth(*plain, shorter(300)));
  CHECK(session->LowestRewind() > 200);
  CHECK(Resume(*session, shorter(850)) == 0);
  CheckSame(Prefill(*session), Truth(*plain, shorter(850)));
}

TEST_CASE("what rings have forgotten is not taken for computed, wherever it comes from") {
  const auto plain = OpenEngine(kE2b, 0), engine = OpenEngine(kE2b);
  Ids ids;
  for (int i = 0; i < 20; ++i) ids = ids + GoldenIds(kE2b);
  const auto first = [&](std::ptrdiff_t count) { return Ids(ids.begin(), ids.begin() + count); };
  const auto one = NewSession(*engine), two = NewSession(*engine), three = NewSession(*engine);
  Resume(*one, ids);
  Prefill(*one);
  one->Checkpoint();
  // Taken from the cache, with the window before its end and no more.
  CHECK(Resume(*two, ids) == 999);
  Prefill(*two);
  CHECK(Resume(*two, first(850)) == 0);
  CheckSame(Prefill(*two), Truth(*plain, first(850)));
  // Kept from a timeline that was taken back nearly as far as it could be.
  const int64_t lowest = one->LowestRewind();
  const Ids back = first(lowest + 3) + Ids{5};
  CHECK(Resume(*one, back) == lowest + 3);
  CheckSame(Prefill(*one), Truth(*plain, back));
  one->Checkpoint();
  CHECK(Resume(*three, back + Ids{6}) == lowest + 4);
  CheckSame(Prefill(*three), Truth(*plain, back + Ids{6}));
  CHECK(Resume(*three, first(lowest - 10)) == 0);
  CheckSame(Prefill(*three), Truth(*plain, first(lowest - 10)));
  // A session that begins anew has forgotten nothing of what it computes now.
  Ids other = GoldenIds(kE2b);
  other[0] ^= 1;
  CHECK(Resume(*one, other) == 0);
  Prefill(*one);
  one->Checkpoint();
  CHECK(one->LowestRewind() == 0);
  CHECK(Resume(*two, other + Ids{5}) == kPositions);
  CheckSame(Prefill(*two), Truth(*plain, other + Ids{5}));
}

TEST_CASE("a picture asked about again is a hit, another one with the same ids is not") {
  const auto plain = OpenNano(0), engine = OpenNano();
  const SpecialTokens& special = engine->info().special;
  const SoftTokens cat = RowsOf(*engine, 256, 1), dog = RowsOf(*engine, 256, 2);
  SoftTokens almost = cat;
  almost.rows[100 * static_cast<size_t>(engine->info().hidden)] += 0.5f;
  const Ids before = Text(*engine, "<start_of_turn>user\n\n\n") + Ids{special.start_of_image},
            picture = Ids(256, special.image_soft_token) + Ids{special.end_of_image};
  const int64_t start = static_cast<int64_t>(before.size());
  const auto ask = [&](const std::string& question) { return before + picture + Text(*engine, question); };
  const std::vector<int64_t> after_picture = {start + 257};
  const auto one = NewSession(*engine), other = NewSession(*engine);

  const Ids what = ask("\n\nwhat is this?<end_of_turn>\n"), where = ask("\n\nwhere is it?<end_of_turn>\n");
  CHECK(Resume(*one, what, {&cat}, {nullptr, after_picture}) == 0);
  CheckSame(Prefill(*one), Truth(*plain, what, {&cat}));
  for (Session* session : {other.get(), one.get()}) {
    CHECK(Resume(*session, where, {&cat}) >= start + 257);
    CheckSame(Prefill(*session), Truth(*plain, where, {&cat}));
  }
  CHECK(Resume(*one, what, {&dog}) <= start);
  CheckSame(Prefill(*one), Truth(*plain, what, {&dog}));
  CHECK(Resume(*other, what, {&almost}) == start + 100);
  CheckSame(Prefill(*other), Truth(*plain, what, {&almost}));

  // Two pictures: the second question reuses the first of them.
  const Ids both = before + picture + Ids{special.start_of_image} + picture + Text(*engine, "same?");
  CHECK(Resume(*one, both, {&cat, &dog}) == start + 257);
  CheckSame(Prefill(*one, 100), Truth(*plain, both, {&cat, &dog}));
  CHECK(Resume(*one, both, {&cat, &cat}) == start + 258);
  CheckSame(Prefill(*one), Truth(*plain, both, {&cat, &cat}));

  // A snapshot does not say which picture it is of.
  REQUIRE(other->Restore(one->Snapshot()).ok());
  const auto fresh = OpenNano(0);
  const auto restored = NewSession(*fresh);
  REQUIRE(restored->Restore(one->Snapshot()).ok());
  CHECK(Resume(*restored, both, {&cat, &cat}) == start);
  CheckSame(Prefill(*restored), Truth(*plain, both, {&cat, &cat}));
}

TEST_CASE("slices share what has the same keys and values, and nothing else") {
  const auto plain = OpenEngine(kE4b, 0), engine = OpenEngine(kE4b);
  const Ids ids = GoldenIds(kE4b), second = Ids(ids.begin(), ids.begin() + 40) + Ids{5, 6, 7};
  const std::vector<int64_t> checkpoint = {40};
  SliceOptions full, e2b, tail;
  full.name = "full";
  e2b.name = "e2b";
  tail.ffn_widths.assign(35, 256);
  std::fill(tail.ffn_widths.begin() + 20, tail.ffn_widths.end(), 128);
  tail.skipped_layers = {20, 21, 22, 23, 24};

  const auto session = NewSession(*engine);
  CHECK(Resume(*session, ids, {}, {&full, checkpoint}) == 0);
  CheckSame(Prefill(*session), Truth(*plain, ids));
  // Another slice in the same session, over its own timeline.
  CHECK(Resume(*session, ids, {}, {&e2b, checkpoint}) == 0);
  CHECK(session->slice_name() == "e2b");
  CheckSame(Prefill(*session), Truth(*plain, ids, {}, "e2b"));
  CHECK(engine->reuse().entries == 2);

  const auto other = NewSession(*engine);
  for (const SliceOptions* slice : {&full, &e2b}) {
    CHECK(Resume(*other, second, {}, {slice, checkpoint}) == 40);
    CheckSame(Prefill(*other), Truth(*plain, second, {}, slice->name.c_str()));
  }
  // A tail slice goes on from what the whole file computed.
  CHECK(Resume(*other, ids, {}, {&tail, checkpoint}) == 40);
  const auto truth = NewSession(*plain);
  REQUIRE(truth->SetSlice(tail).ok());
  REQUIRE(truth->Append(ids, {}).ok());
  CheckSame(Prefill(*other), Prefill(*truth));
}

TEST_CASE("what one session computes, another that waits for it takes") {
  const auto plain = OpenEngine(kE2b, 0), engine = OpenEngine(kE2b);
  const Ids ids = GoldenIds(kE2b), first = ids + Ids{5}, second = ids + Ids{6};
  const std::vector<int64_t> checkpoint = {kPositions};
  const auto one = NewSession(*engine), other = NewSession(*engine);
  CHECK(Resume(*one, first, {}, {nullptr, checkpoint}) == 0);
  CHECK(Resume(*other, second, {}, {nullptr, checkpoint}) == 0);
  REQUIRE(other->Advance(10).value() == 41);
  CheckSame(Prefill(*one), Truth(*plain, first));
  CheckSame(Prefill(*other), Truth(*plain, second));
  CHECK(other->reused() == 40);
  CHECK(one->reused() == 0);
}

TEST_CASE("memory of an engine stays within its bound, and nothing is wrong for it") {
  const auto plain = OpenEngine(kE2b, 0);
  const uint64_t bound = RoomForThree();
  const auto engine = OpenEngine(kE2b, bound);
  const Ids ids = GoldenIds(kE2b);
  const auto session = NewSession(*engine);
  const std::vector<int64_t> checkpoint = {kPositions};
  for (int round = 0; round < 2; ++round) {
    for (int32_t first = 4; first < 14; ++first) {
      Ids prompt = ids;
      prompt[0] = first;
      CHECK(Resume(*session, prompt, {}, {nullptr, checkpoint}) == 0);
      CheckSame(Prefill(*session), Truth(*plain, prompt));
      const ReuseStats stats = engine->reuse();
      CHECK(stats.bytes <= stats.max_bytes);
    }
  }
  const ReuseStats stats = engine->reuse();
  CHECK(stats.max_bytes == bound);
  CHECK(stats.entries == 3);
  CHECK(stats.evicted == 17);
  CHECK(stats.hits == 0);
  CHECK(stats.resumes == 20);
}

TEST_CASE("what is used stays while others come and go") {
  const auto engine = OpenEngine(kE2b, RoomForThree());
  const Ids kept = GoldenIds(kE2b);
  const std::vector<int64_t> checkpoint = {kPositions};
  for (int32_t first = 4; first < 14; ++first) {
    CHECK(Resume(*NewSession(*engine), kept) == (first == 4 ? 0 : kPositions - 1));
    Ids prompt = kept;
    if (first > 4) prompt[0] = first;
    const auto session = NewSession(*engine);
    Resume(*session, prompt, {}, {nullptr, checkpoint});
    Prefill(*session);
  }
}

TEST_CASE("without memory for it nothing is kept but each session's own timeline") {
  const auto engine = OpenEngine(kE2b, 0);
  const Ids ids = GoldenIds(kE2b);
  const std::vector<int64_t> checkpoint = {20, kPositions};
  const auto one = NewSession(*engine), other = NewSession(*engine);
  CHECK(Resume(*one, ids, {}, {nullptr, checkpoint}) == 0);
  Prefill(*one);
  one->Checkpoint();
  CHECK(engine->reuse().entries == 0);
  CHECK(engine->reuse().bytes == 0);
  CHECK(Resume(*other, ids) == 0);
  CHECK(Resume(*one, ids) == kPositions - 1);
}

TEST_CASE("prompts that cannot be change nothing") {
  const auto engine = OpenEngine(kE2b);
  const Ids ids = GoldenIds(kE2b);
  const auto session = NewSession(*engine);
  Resume(*session, ids);
  const std::vector<float> logits = Prefill(*session);
  SliceOptions nonsense;
  nonsense.name = "nonsense";
  const SoftTokens row = RowsOf(*engine, 1, 1);
  const SoftTokens* const rows[] = {&row};
  const Ids many(static_cast<size_t>(engine->info().context_length) + 1, 5);
  CHECK(session->Resume({}, {}).status().code() == Code::PROMPT_INVALID);
  CHECK(session->Resume(Ids{-1}, {}).status().code() == Code::TOKEN_INVALID);
  CHECK(session->Resume(many, {}).status().code() == Code::CONTEXT_FULL);
  CHECK(session->Resume(ids, rows).status().code() == Code::PROMPT_INVALID);
  CHECK(session->Resume(ids, {}, {&nonsense, {}}).status().code() == Code::SLICE_INVALID);
  CHECK(session->position() == kPositions);
  CHECK(session->pending() == 0);
  CHECK(std::vector<float>(session->logits().begin(), session->logits().end()) == logits);
  // Checkpoints out of range count for nothing.
  const std::vector<int64_t> odd = {-5, 0, 3, INT64_MAX, INT64_MIN, 51, 30, 30};
  const auto other = NewSession(*engine);
  CHECK(Resume(*other, ids, {}, {nullptr, odd}) == 0);
  CheckSame(Prefill(*other), logits);
  CHECK(engine->reuse().entries == 1);
}

TEST_CASE("a resumed session samples, writes and follows its grammar from the start") {
  const auto engine = OpenNano();
  const Ids ids = Text(*engine, "<start_of_turn>user\nWhat is in this picture, and where is it? Answer me.") +
                  Text(*engine, "<end_of_turn>\n<start_of_turn>model\n");
  const auto session = NewSession(*engine);
  const auto reply = [&](const SamplingOptions& options, int count) {
    Prefill(*session);
    std::string text;
    for (int i = 0; i < count; ++i) {
      const StatusOr<Sampled> sampled = session->Sample(options);
      REQUIRE_MESSAGE(sampled.ok(), sampled.status().message());
      if (sampled.value().end) break;
      text += sampled.value().text;
      REQUIRE(session->Advance(1).ok());
    }
    return text;
  };
  SamplingOptions hot;
  hot.temperature = 5;
  hot.seed = 7;
  Resume(*session, ids);
  const std::string first = reply(hot, 12);
  CHECK(Resume(*session, ids) == static_cast<int64_t>(ids.size()) - 1);
  CHECK(reply(hot, 12) == first);

  REQUIRE(session->SetGrammar(engine->CompileGrammar(R"({"enum": ["yes and no"]})").value()).ok());
  for (int round = 0; round < 3; ++round) {
    Resume(*session, ids);
    // Left in the middle of a reply and of its grammar, the next one begins at the beginning.
    const std::string text = reply({}, round == 0 ? 2 : 30);
    CHECK((round == 0 ? text.size() < 12 : text == R"("yes and no")"));
  }
}

TEST_CASE("pictures and sounds are encoded once, within their share of the memory") {
  const auto engine = OpenNano(), plain = OpenNano(0);
  std::vector<uint8_t> pixels(64 * 48 * 3);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
  const SoftTokens first = engine->EncodeImage(pixels.data(), 64, 48, 256).value();
  CHECK(engine->reuse().media_hits == 0);
  CHECK(engine->EncodeImage(pixels.data(), 64, 48, 256).value().rows == first.rows);
  CHECK(engine->reuse().media_hits == 1);
  CHECK(plain->EncodeImage(pixels.data(), 64, 48, 256).value().rows == first.rows);
  // Another shape, another pixel: other pictures.
  CHECK(engine->EncodeImage(pixels.data(), 48, 64, 256).value().rows != first.rows);
  pixels[0] ^= 0xff;
  CHECK(engine->EncodeImage(pixels.data(), 64, 48, 256).value().rows != first.rows);
  CHECK(engine->reuse().media_hits == 1);
  const std::vector<float> sound(16000, 0.1f);
  const SoftTokens heard = engine->EncodeAudio(sound).value();
  CHECK(engine->EncodeAudio(sound).value().rows == heard.rows);
  CHECK(engine->reuse().media_hits == 2);
  CHECK(plain->reuse().media_hits == 0);
  CHECK_FALSE(engine->EncodeImage(nullptr, 0, 0, 256).ok());

  SoftTokenCache cache(3000);
  const ContentHash hash(1, 2);
  const auto key = [&](int i) { return hash.Of(ContentKind::kPixels, &i, sizeof i); };
  SoftTokens tokens;
  tokens.rows.resize(300);
  for (int i = 0; i < 5; ++i) {
    cache.Insert(key(i), tokens);
    CHECK(cache.bytes() <= 3000);
  }
  CHECK(cache.Find(key(2)) == nullptr);
  CHECK(cache.Find(key(3)) != nullptr);
  cache.Insert(key(5), tokens);
  CHECK(cache.Find(key(4)) == nullptr);
  CHECK(cache.Find(key(3)) != nullptr);
  tokens.rows.resize(800);
  cache.Insert(key(9), tokens);
  CHECK(cache.Find(key(9)) == nullptr);
}

}  // namespace hearth
