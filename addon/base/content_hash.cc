#include "addon/base/content_hash.h"

#include <bit>
#include <cstring>
#include <random>

namespace hearth {
namespace {

// Odd, so that multiplying loses nothing: a state and a word make exactly one next state, and two words two of them.
constexpr uint64_t kMultiplierA = 0x9e3779b97f4a7c15, kMultiplierB = 0xd6e8feb86659fd93;

// Two independent lanes; both take every word.
void Absorb(Digest& state, uint64_t word) {
  state.a = std::rotl((state.a ^ word) * kMultiplierA, 29);
  state.b = std::rotl((state.b + word) * kMultiplierB, 37);
}

// The finaliser of SplitMix64 (Steele, Lea and Flood): every bit of the input reaches every bit of the output.
uint64_t Spread(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

Digest Finish(const Digest& state) { return {Spread(state.a), Spread(state.b ^ std::rotl(state.a, 32))}; }

}  // namespace

ContentHash::ContentHash() {
  std::random_device random;
  const auto word = [&] { return static_cast<uint64_t>(random()) << 32 | random(); };
  seed_ = {word(), word()};
}

Digest ContentHash::Next(const Digest& before, uint64_t word, const Digest& content) const {
  Digest state = before;
  Absorb(state, word);
  Absorb(state, content.a);
  Absorb(state, content.b);
  return Finish(state);
}

Digest ContentHash::Of(ContentKind kind, const void* data, size_t bytes) const {
  Digest state = seed_;
  Absorb(state, static_cast<uint64_t>(kind));
  Absorb(state, bytes);
  const uint8_t* from = static_cast<const uint8_t*>(data);
  for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), from += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, from, sizeof word);
    Absorb(state, word);
  }
  if (bytes > 0) {
    uint64_t word = 0;
    std::memcpy(&word, from, bytes);
    Absorb(state, word);
  }
  return Finish(state);
}

}  // namespace hearth
