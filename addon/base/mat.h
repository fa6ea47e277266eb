// Views of row-major matrices. They own nothing and are passed by value.
#ifndef HEARTH_BASE_MAT_H_
#define HEARTH_BASE_MAT_H_

#include <cstdint>

namespace hearth {

// [rows, cols] of T; row r starts at data + r * stride.
template <typename T>
struct Mat {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  Mat() = default;
  Mat(T* data_in, int64_t rows_in, int64_t cols_in) : Mat(data_in, rows_in, cols_in, cols_in) {}
  Mat(T* data_in, int64_t rows_in, int64_t cols_in, int64_t stride_in)
      : data(data_in), rows(rows_in), cols(cols_in), stride(stride_in) {}

  T* row(int64_t r) const { return data + r * stride; }
  Mat Rows(int64_t begin, int64_t count) const { return Mat(row(begin), count, cols, stride); }
  operator Mat<const T>() const { return Mat<const T>(data, rows, cols, stride); }  // NOLINT: implicit by design
};

using MatF = Mat<float>;
using ConstMatF = Mat<const float>;

}  // namespace hearth

#endif  // HEARTH_BASE_MAT_H_
