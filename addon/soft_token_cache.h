// What the encoders made of the last pictures and sounds: several plugins look at one frame, several listen to one
// segment, and a question may follow about the picture before. Thread-safe, bounded in bytes, least recently used
// first.
#ifndef HEARTH_SOFT_TOKEN_CACHE_H_
#define HEARTH_SOFT_TOKEN_CACHE_H_

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "addon/base/content_hash.h"
#include "addon/runtime.h"

namespace hearth {

class SoftTokenCache {
 public:
  explicit SoftTokenCache(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  // Null when it is not there. `key`: of the pixels or samples and of everything else the encoder goes by.
  std::shared_ptr<const SoftTokens> Find(const Digest& key);
  void Insert(const Digest& key, const SoftTokens& tokens);

  uint64_t max_bytes() const { return max_bytes_; }
  uint64_t bytes() const;
  // How often Find found something.
  uint64_t hits() const;

 private:
  struct Slot {
    Digest key;
    std::shared_ptr<const SoftTokens> tokens;
  };

  static uint64_t BytesOf(const SoftTokens& tokens) { return sizeof(SoftTokens) + tokens.rows.size() * sizeof(float); }

  const uint64_t max_bytes_;
  mutable std::mutex mutex_;
  std::list<Slot> slots_;  // most recently used first
  uint64_t bytes_ = 0, hits_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_SOFT_TOKEN_CACHE_H_
