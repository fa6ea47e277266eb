// Where the tests find their files. The test program runs in the project's root.
#ifndef HEARTH_TEST_NATIVE_FIXTURES_H_
#define HEARTH_TEST_NATIVE_FIXTURES_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>

#include "addon/gguf/gguf.h"

namespace hearth::test {

inline std::shared_ptr<const GgufFile> OpenGguf(const std::string& path) {
  StatusOr<std::shared_ptr<const GgufFile>> file = GgufFile::Open(path);
  REQUIRE_MESSAGE(file.ok(), file.status().message());
  return *file;
}

// Reference values are kept as tensors of a GGUF file, so that one reader serves models and truths alike.
template <typename T>
const T* Golden(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.Find(name);
  REQUIRE_MESSAGE(tensor != nullptr, name);
  return reinterpret_cast<const T*>(tensor->data);
}

inline float MaxDifference(const float* a, const float* b, int64_t n) {
  float max = 0;
  for (int64_t i = 0; i < n; ++i) max = std::max(max, std::isnan(a[i]) ? INFINITY : std::fabs(a[i] - b[i]));
  return max;
}

// Smallest cosine between corresponding rows.
inline double MinCosine(const float* a, const float* b, int64_t rows, int64_t cols) {
  double min = 1;
  for (int64_t r = 0; r < rows; ++r) {
    double ab = 0, aa = 0, bb = 0;
    for (int64_t c = 0; c < cols; ++c) {
      const double x = a[r * cols + c], y = b[r * cols + c];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    min = std::min(min, aa == 0 && bb == 0 ? 1 : ab / std::sqrt(aa * bb));
  }
  return min;
}

}  // namespace hearth::test

#endif  // HEARTH_TEST_NATIVE_FIXTURES_H_
