// MatFormer slices by name, what they cost, and which of them share a cache.
#include "addon/model/slice.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "addon/runtime.h"
#include "test/native/fixtures.h"

namespace hearth {
namespace {

using test::Golden;
using test::OpenGguf;

// What slices depend on, of the released models.
Config Released(int layers, int64_t ffn_width) {
  Config c{};
  c.layers = layers;
  c.hidden = 2048;
  c.ffn_width.assign(static_cast<size_t>(layers), ffn_width);
  c.ffn_block.assign(static_cast<size_t>(layers), 32);
  c.heads = 8;
  c.kv_heads = 2;
  c.head_dim = 256;
  c.ple_dim = 256;
  c.kv_layers = 20;
  c.vocab = 262400;
  return c;
}

double Millions(uint64_t macs) { return static_cast<double>(macs) / 1e6; }

}  // namespace

TEST_CASE("a name whose widths would cut a block of the down projection is none of the model's") {
  Config c = Released(30, 8192);
  c.ffn_block[29] = 256;
  CHECK(NamedSlices(c) == std::vector<std::string>{"full", "half", "full-tail"});
  c.ffn_width[29] = 8192 + 256;
  CHECK(NamedSlices(c) == std::vector<std::string>{"full"});
  const Status half = Slice::Named(c, "half").status();
  CHECK(half.code() == Code::SLICE_INVALID);
  CHECK(
      half.message() ==
      "layer 29: width 4224; multiples of 256 (the values in a block of its down projection) up to the file's 8448 are "
      "allowed");
}

TEST_CASE("tails: the layers that share a cache as the smallest published slice has them") {
  const Config e4b = Released(35, 16384);
  const std::vector<std::string> names = NamedSlices(e4b);
  const std::vector<std::string> tails(names.begin() + 12, names.end());
  CHECK(tails == std::vector<std::string>{"full-tail", "e3.79b-tail", "e3.39b-tail", "e2.98b-tail", "e2.69b-tail"});
  CHECK(NamedSlices(Released(30, 8192)) == std::vector<std::string>{"full", "half", "full-tail"});

  const Slice full = Slice::Full(e4b), tail = Slice::Named(e4b, "e4b-tail").value(),
              e2b = Slice::Named(e4b, "e2b").value();
  CHECK(tail.name == "e4b-tail");
  CHECK(tail.SameKv(full, e4b));
  CHECK_FALSE(tail.SameKv(e2b, e4b));
  CHECK(tail.skipped == e2b.skipped);
  CHECK(std::equal(tail.ffn_width.begin() + 20, tail.ffn_width.end(), e2b.ffn_width.begin() + 20));
  CHECK(Slice::Named(e4b, "e2b-tail").value().ffn_width == e2b.ffn_width);
  // Published pairs that share a cache.
  CHECK(Slice::Named(e4b, "e3.79b").value().SameKv(Slice::Named(e4b, "e3.59b").value(), e4b));
  CHECK(Slice::Named(e4b, "e2.54b").value().SameKv(Slice::Named(e4b, "e1.96b").value(), e4b));

  CHECK(Slice::Named(e4b, "-tail").status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Named(e4b, "e9b-tail").status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Named(e4b, "full-tail-tail").status().code() == Code::SLICE_INVALID);
  CHECK(Slice::Named(Released(30, 8192), "e2b-tail").status().code() == Code::SLICE_INVALID);
}

TEST_CASE("the cost of a token is that of the released models' matrix products") {
  const Config e2b = Released(30, 8192), e4b = Released(35, 16384);
  const double head = 2048.0 * 262400 / 1e6;
  // Counted tensor by tensor: E2B 1886 and 1207 million, E4B 3951 and 2164 million, the head apart.
  const auto near = [](double measured, double expected) { return std::abs(measured / expected - 1) < 0.01; };
  const SliceCost small = CostOf(e2b, Slice::Full(e2b)), large = CostOf(e4b, Slice::Full(e4b));
  CHECK(near(Millions(small.decode) - head, 1886));
  CHECK(near(Millions(small.prefill), 1207));
  CHECK(near(Millions(large.decode) - head, 3951));
  CHECK(near(Millions(large.prefill), 2164));

  // The smallest slice of E4B is E2B; a tail saves in decoding only.
  const SliceCost cut = CostOf(e4b, Slice::Named(e4b, "e2b").value());
  CHECK(near(Millions(cut.decode), Millions(small.decode)));
  CHECK(near(Millions(cut.prefill), Millions(small.prefill)));
  const SliceCost tail = CostOf(e4b, Slice::Named(e4b, "full-tail").value());
  CHECK(tail.prefill == large.prefill);
  CHECK(tail.decode < large.decode);
  CHECK(tail.decode > cut.decode);

  // Published from largest to smallest.
  uint64_t before = large.decode + 1;
  for (const char* name :
       {"e4b", "e3.79b", "e3.59b", "e3.39b", "e3.18b", "e2.98b", "e2.69b", "e2.54b", "e1.96b", "e2b"}) {
    CAPTURE(name);
    const uint64_t decode = CostOf(e4b, Slice::Named(e4b, name).value()).decode;
    CHECK(decode < before);
    before = decode;
  }
}

TEST_CASE("a slice loaded alone: what needs no more is there, what needs more is refused by name") {
  Config c = Released(35, 16384);
  c.sparsity_z.assign(35, -INFINITY);
  REQUIRE(LoadOnly(c, "e2b").ok());
  CHECK(NamedSlices(c) == std::vector<std::string>{"e2b"});
  CHECK(c.loaded(0) == 8192);
  CHECK(c.loaded(20) == 0);
  CHECK(c.loaded(25) == 8192);
  CHECK(Slice::Loaded(c).name == "e2b");
  CHECK(Slice::Named(c, "e2b-tail").ok());
  const Status wide = Slice::Named(c, "e2.54b").status();
  CHECK(wide.code() == Code::SLICE_INVALID);
  CHECK(wide.message() ==
        "slice e2.54b needs 16384 neurons of layer 4; of this file only what slice e2b needs was loaded, 8192 there");
  const Status deep = Slice::Named(c, "half").status();
  CHECK(deep.code() == Code::SLICE_INVALID);
  CHECK(deep.message() ==
        "slice half needs 8192 neurons of layer 20; of this file only what slice e2b needs was loaded, 0 there");
  const Status unknown = Slice::Named(c, "e9b").status();
  CHECK(unknown.message() == "no slice is called \"e9b\"; this model has e2b");
  std::vector<int64_t> widths(35, 4096);
  CHECK(Slice::Custom(c, widths, {20, 21, 22, 23, 24}).ok());
  CHECK(Slice::Custom(c, widths, {20, 21, 22, 23}).status().code() == Code::SLICE_INVALID);

  // Slices are no chain: each is judged layer by layer.
  Config middle = Released(35, 16384);
  REQUIRE(LoadOnly(middle, "e2.98b").ok());
  CHECK(NamedSlices(middle) == std::vector<std::string>{"half", "e2.98b", "e2b", "e2.98b-tail"});
  Config most = Released(35, 16384);
  REQUIRE(LoadOnly(most, "e3.79b").ok());
  CHECK(NamedSlices(most) == std::vector<std::string>{"half", "e3.79b", "e3.59b", "e3.39b", "e3.18b", "e2.98b",
                                                      "e2.69b", "e2.54b", "e1.96b", "e2b", "e3.79b-tail", "e3.39b-tail",
                                                      "e2.98b-tail", "e2.69b-tail"});

  Config whole = Released(35, 16384);
  CHECK(LoadOnly(whole, "e9b").code() == Code::SLICE_INVALID);
  CHECK(whole.loaded_slice == "full");
  REQUIRE(LoadOnly(whole, "full").ok());
  CHECK(NamedSlices(whole) == NamedSlices(Released(35, 16384)));
}

TEST_CASE("an engine tells its slices, their groups and which the family was trained at") {
  EngineOptions options;
  options.model_path = "test/fixtures/models/e4b-narrow.gguf";
  const auto opened = Engine::Open(options);
  REQUIRE(opened.ok());
  const std::vector<SliceInfo>& slices = opened.value()->info().slices;
  const auto find = [&](const std::string& name) {
    return *std::find_if(slices.begin(), slices.end(), [&](const SliceInfo& info) { return info.name == name; });
  };
  REQUIRE(slices.size() == 17);
  CHECK(find("e4b").kv_group == find("full").kv_group);
  CHECK(find("full-tail").kv_group == find("full").kv_group);
  CHECK(find("e2b").kv_group == find("half").kv_group);
  CHECK(find("e2.69b-tail").kv_group == find("e2.69b").kv_group);
  CHECK(find("e2.98b").kv_group != find("e2.69b").kv_group);
  CHECK(find("full-tail").decode_macs < find("full").decode_macs);
  CHECK(find("e2b").published);
  CHECK(find("full-tail").published);
  CHECK_FALSE(find("half").published);

  options.model_path = "test/fixtures/models/e2b-narrow.gguf";
  const auto other = Engine::Open(options);
  REQUIRE(other.ok());
  for (const SliceInfo& info : other.value()->info().slices) CHECK(info.published == (info.name == "full"));
}

TEST_CASE("a tail in the middle of a reply changes no byte of the cache, and back on the whole file no logit") {
  const auto golden = OpenGguf("test/fixtures/models/e4b-narrow.golden.gguf");
  const std::span<const int32_t> ids(Golden<int32_t>(*golden, "input_ids"), 50);
  EngineOptions options;
  options.model_path = "test/fixtures/models/e4b-narrow.gguf";
  options.threads = 2;
  const auto opened = Engine::Open(options);
  REQUIRE(opened.ok());
  Engine& engine = **opened;
  // One token at a time from 10 on, in both; from 20 to 29 one of them runs its tail.
  const auto decode = [&](bool with_tail) {
    std::unique_ptr<Session> session = std::move(*engine.NewSession());
    REQUIRE(session->Append(ids.first(10), {}).ok());
    REQUIRE(session->Advance(10).value() == 0);
    for (size_t i = 10; i < ids.size(); ++i) {
      SliceOptions slice;
      slice.name = with_tail && i >= 20 && i < 30 ? "full-tail" : "full";
      REQUIRE(session->SetSlice(slice).ok());
      REQUIRE(session->Append(ids.subspan(i, 1), {}).ok());
      REQUIRE(session->Advance(1).value() == 0);
      if (i == 25) CHECK(session->slice_name() == slice.name);
    }
    return session;
  };
  const std::unique_ptr<Session> whole = decode(false), switched = decode(true);
  CHECK(whole->Snapshot() == switched->Snapshot());  // ids, every key and value, the last logits
}

}  // namespace hearth
