// A 128-bit hash of content, for telling prompts and pictures apart inside one process. Not a cryptographic one: it is
// seeded at random, so that who sends the content cannot know what collides, and its values mean nothing elsewhere.
#ifndef HEARTH_BASE_CONTENT_HASH_H_
#define HEARTH_BASE_CONTENT_HASH_H_

#include <cstddef>
#include <cstdint>

namespace hearth {

struct Digest {
  uint64_t a = 0, b = 0;
  bool operator==(const Digest&) const = default;
};

// What the bytes are; the same bytes as two kinds have two digests.
enum class ContentKind : uint64_t { kPixels, kSamples, kSoftToken };

class ContentHash {
 public:
  // Seeded by the system's random device.
  ContentHash();
  ContentHash(uint64_t seed_a, uint64_t seed_b) : seed_{seed_a, seed_b} {}

  // Of nothing: where a chain begins.
  Digest Start() const { return seed_; }
  // Of what `before` is of, and then of a word and of what `content` is of.
  Digest Next(const Digest& before, uint64_t word, const Digest& content) const;
  Digest Of(ContentKind kind, const void* data, size_t bytes) const;

 private:
  Digest seed_;
};

}  // namespace hearth

#endif  // HEARTH_BASE_CONTENT_HASH_H_
