// One large block of memory that is handed out in pieces and given back as a whole: weights, made when a model is
// loaded; keys and values, whose end a conversation may never reach.
#ifndef HEARTH_BASE_ARENA_H_
#define HEARTH_BASE_ARENA_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "addon/base/status.h"

namespace hearth {

class Arena {
 public:
  static constexpr size_t kAlignment = 64;

  Arena() = default;
  Arena(Arena&& other) noexcept { *this = std::move(other); }
  Arena& operator=(Arena&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(used_, other.used_);
    return *this;
  }
  ~Arena();

  // Huge pages are what a decode step that reads every byte is glad of; small ones take no more memory than is written.
  enum class Pages { kHuge, kSmall };

  // Reserves `size` bytes of zeroed address space; memory is taken when it is first written.
  Status Reserve(size_t size, Pages pages = Pages::kHuge);

  // `bytes` bytes at a multiple of kAlignment. The sum of all (each rounded up) is at most what was reserved.
  uint8_t* Take(size_t bytes);
  static size_t Rounded(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t used_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_BASE_ARENA_H_
