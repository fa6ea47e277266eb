#include "addon/soft_token_cache.h"

#include <algorithm>

namespace hearth {

std::shared_ptr<const SoftTokens> SoftTokenCache::Find(const Digest& key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto slot = std::find_if(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.key == key; });
  if (slot == slots_.end()) return nullptr;
  ++hits_;
  slots_.splice(slots_.begin(), slots_, slot);
  return slot->tokens;
}

void SoftTokenCache::Insert(const Digest& key, const SoftTokens& tokens) {
  const uint64_t bytes = BytesOf(tokens);
  if (bytes > max_bytes_) return;
  auto copy = std::make_shared<const SoftTokens>(tokens);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (std::any_of(slots_.begin(), slots_.end(), [&](const Slot& s) { return s.key == key; })) return;
  slots_.push_front({key, std::move(copy)});
  bytes_ += bytes;
  while (bytes_ > max_bytes_) {
    bytes_ -= BytesOf(*slots_.back().tokens);
    slots_.pop_back();
  }
}

uint64_t SoftTokenCache::bytes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return bytes_;
}

uint64_t SoftTokenCache::hits() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return hits_;
}

}  // namespace hearth
