// A buffer of plain values aligned to a cache line (64 bytes, one AVX-512 register). Growing it can fail without
// taking the process down: sizes come from model files, pictures and options.
#ifndef HEARTH_BASE_ALIGNED_BUFFER_H_
#define HEARTH_BASE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "addon/base/status.h"

namespace hearth {

template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() { std::free(data_); }

  // Makes room for `count` zeroed values; the old contents are gone.
  Status Reset(size_t count) {
    std::free(std::exchange(data_, nullptr));
    size_ = 0;
    if (count == 0) return Status();
    if (count > (SIZE_MAX - kAlignment) / sizeof(T)) {
      return Error(Code::OUT_OF_MEMORY, "a buffer of %zu values of %zu bytes does not fit the address space", count,
                   sizeof(T));
    }
    const size_t bytes = (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    data_ = static_cast<T*>(std::aligned_alloc(kAlignment, bytes));
    if (data_ == nullptr) return Error(Code::OUT_OF_MEMORY, "%zu bytes could not be allocated", bytes);
    std::memset(static_cast<void*>(data_), 0, bytes);
    size_ = count;
    return Status();
  }

  // Like Reset, but keeps a buffer that is large enough already, contents and all.
  Status Reserve(size_t count) { return count <= size_ ? Status() : Reset(count); }

  // Becomes a copy of `other`.
  Status Assign(const AlignedBuffer& other) {
    HEARTH_RETURN_IF_ERROR(Reset(other.size_));
    if (size_ > 0) std::memcpy(static_cast<void*>(data_), other.data_, size_ * sizeof(T));
    return Status();
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace hearth

#endif  // HEARTH_BASE_ALIGNED_BUFFER_H_
