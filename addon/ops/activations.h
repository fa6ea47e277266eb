// Rows of values that matrices are multiplied with: float32, and the same rows in 8 bits for the kernels that want
// them.
#ifndef HEARTH_OPS_ACTIVATIONS_H_
#define HEARTH_OPS_ACTIVATIONS_H_

#include <cstdint>
#include <cstring>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/kernels/kernels.h"

namespace hearth {

class Activations {
 public:
  // Room for `rows` rows of `cols` values. Without `floats` only the 8-bit form is kept.
  Status Reserve(int64_t rows, int64_t cols, bool floats = true) {
    cols_ = cols;
    blocks_ = cols / 32;
    if (floats) HEARTH_RETURN_IF_ERROR(values_.Reserve(static_cast<size_t>(rows * cols)));
    HEARTH_RETURN_IF_ERROR(q_.Reserve(static_cast<size_t>(rows * blocks_ * 32)));
    HEARTH_RETURN_IF_ERROR(d_.Reserve(static_cast<size_t>(rows * blocks_)));
    return offset_.Reserve(static_cast<size_t>(rows * blocks_));
  }

  int64_t cols() const { return cols_; }
  float* row(int64_t t) { return values_.data() + t * cols_; }
  MatF values(int64_t rows) { return MatF(values_.data(), rows, cols_); }
  ConstMatF values(int64_t rows) const { return ConstMatF(values_.data(), rows, cols_); }
  hearth_q8_rows q8() const { return {q_.data(), d_.data(), offset_.data(), blocks_ * 32, blocks_}; }

  // Keeps the last `keep` of `rows` rows, in both forms.
  void KeepLast(int64_t rows, int64_t keep) {
    const auto shift = [&](auto& buffer, int64_t columns) {
      if (buffer.size() == 0) return;
      std::memmove(buffer.data(), buffer.data() + (rows - keep) * columns,
                   static_cast<size_t>(keep * columns) * sizeof(*buffer.data()));
    };
    shift(values_, cols_);
    shift(q_, blocks_ * 32);
    shift(d_, blocks_);
    shift(offset_, blocks_);
  }

  // Takes over the 8-bit form of another's first rows, of as many columns.
  void CopyQ8(const Activations& other, int64_t rows) {
    std::memcpy(q_.data(), other.q_.data(), static_cast<size_t>(rows * blocks_ * 32));
    std::memcpy(d_.data(), other.d_.data(), static_cast<size_t>(rows * blocks_) * sizeof(float));
    std::memcpy(offset_.data(), other.offset_.data(), static_cast<size_t>(rows * blocks_) * sizeof(int32_t));
  }

  // 8-bit blocks of 32 values: takes `count` of another's row, from block `first`, as row t's from block `at` on.
  void CopyBlocks(int64_t t, int64_t at, const Activations& other, int64_t row, int64_t first, int64_t count) {
    const int64_t to = t * blocks_ + at, from = row * other.blocks_ + first;
    std::memcpy(q_.data() + to * 32, other.q_.data() + from * 32, static_cast<size_t>(count * 32));
    std::memcpy(d_.data() + to, other.d_.data() + from, static_cast<size_t>(count) * sizeof(float));
    std::memcpy(offset_.data() + to, other.offset_.data() + from, static_cast<size_t>(count) * sizeof(int32_t));
  }
  // Zeros instead.
  void ClearBlocks(int64_t t, int64_t at, int64_t count) {
    const int64_t to = t * blocks_ + at;
    std::memset(q_.data() + to * 32, 0, static_cast<size_t>(count * 32));
    std::memset(d_.data() + to, 0, static_cast<size_t>(count) * sizeof(float));
    std::memset(offset_.data() + to, 0, static_cast<size_t>(count) * sizeof(int32_t));
  }

  // Row t's 8-bit form as softmax of `scores` leaves it; the columns that are there are a multiple of 32.
  float Softmax(const hearth_kernels& kernels, int64_t t, const float* scores, int64_t n, float scale) {
    return kernels.softmax_q8(scores, n, scale, q_.data() + t * blocks_ * 32, d_.data() + t * blocks_,
                              offset_.data() + t * blocks_);
  }

  // Makes the 8-bit form of row t, or of its columns [begin, begin + count) from other values; multiples of 32.
  void Quantise(const hearth_kernels& kernels, int64_t t) { Quantise(kernels, t, 0, cols_, row(t)); }
  void Quantise(const hearth_kernels& kernels, int64_t t, int64_t begin, int64_t count, const float* from) {
    if (kernels.quantize_q8 == nullptr || count % 32 != 0) return;
    const int64_t block = t * blocks_ + begin / 32;
    kernels.quantize_q8(from, count, q_.data() + block * 32, d_.data() + block, offset_.data() + block);
  }

 private:
  int64_t cols_ = 0, blocks_ = 0;
  AlignedBuffer<float> values_;
  AlignedBuffer<int8_t> q_;
  AlignedBuffer<float> d_;
  AlignedBuffer<int32_t> offset_;
};

}  // namespace hearth

#endif  // HEARTH_OPS_ACTIVATIONS_H_
