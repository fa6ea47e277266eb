#include "addon/input/image.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "addon/base/aligned_buffer.h"

namespace hearth {
namespace {

constexpr int64_t kChannels = 3;

// What one output position along an axis is made of: `count` inputs from `first` on, weights summing to 1.
struct Taps {
  int64_t first;
  int64_t count;
  int64_t offset;  // of the weights
};

// The triangle filter of one axis. When the axis shrinks, its support grows with the ratio: that is the antialias.
class Axis {
 public:
  Status Prepare(int64_t in, int64_t out) {
    const double scale = static_cast<double>(in) / static_cast<double>(out);
    const double support = std::max(scale, 1.0);
    taps_.resize(static_cast<size_t>(out));
    HEARTH_RETURN_IF_ERROR(weights_.Reset(static_cast<size_t>(out * (static_cast<int64_t>(2 * support) + 2))));
    int64_t offset = 0;
    for (int64_t i = 0; i < out; ++i) {
      const double center = scale * (static_cast<double>(i) + 0.5);
      const int64_t first = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
      const int64_t end = std::min(static_cast<int64_t>(center + support + 0.5), in);
      float* weights = weights_.data() + offset;
      double sum = 0;
      for (int64_t j = first; j < end; ++j) sum += Triangle((static_cast<double>(j) - center + 0.5) / support);
      for (int64_t j = first; j < end; ++j) {
        weights[j - first] = static_cast<float>(Triangle((static_cast<double>(j) - center + 0.5) / support) / sum);
      }
      taps_[static_cast<size_t>(i)] = {first, end - first, offset};
      offset += end - first;
    }
    return Status();
  }

  const Taps& taps(int64_t i) const { return taps_[static_cast<size_t>(i)]; }
  const float* weights(const Taps& taps) const { return weights_.data() + taps.offset; }

 private:
  static double Triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

  std::vector<Taps> taps_;
  AlignedBuffer<float> weights_;
};

// sum[n] += weight * row[n]. The inner loop has a constant length so that the compiler makes vectors of it.
void AccumulateRow(const uint8_t* __restrict__ row, float weight, int64_t n, float* __restrict__ sum) {
  constexpr int kBlock = 16;
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    for (int j = 0; j < kBlock; ++j) sum[i + j] += weight * static_cast<float>(row[i + j]);
  }
  for (; i < n; ++i) sum[i] += weight * static_cast<float>(row[i]);
}

// To 8 bits, ties to even as torch rounds, then to [0, 1].
float Quantise(float value) { return std::clamp(std::nearbyint(value), 0.0f, 255.0f) * (1.0f / 255.0f); }

}  // namespace

Status ResizeImage(ThreadPool& pool, const RgbView& image, int64_t size, float* out) {
  if (image.data == nullptr || image.width < 1 || image.height < 1 || image.width > kMaxImageSide ||
      image.height > kMaxImageSide) {
    return Error(Code::IMAGE_INVALID, "the picture is %lld x %lld%s; each side has 1 to %lld pixels",
                 static_cast<long long>(image.width), static_cast<long long>(image.height),
                 image.data == nullptr ? " without pixels" : "", static_cast<long long>(kMaxImageSide));
  }
  if (size < 1 || size > kMaxImageSide) {
    return Error(Code::OPTION_INVALID, "the size to resize to is %lld; 1 to %lld", static_cast<long long>(size),
                 static_cast<long long>(kMaxImageSide));
  }
  Axis horizontal, vertical;
  HEARTH_RETURN_IF_ERROR(horizontal.Prepare(image.width, size));
  HEARTH_RETURN_IF_ERROR(vertical.Prepare(image.height, size));
  // Vertical first: then one row of sums a thread is all the memory it takes, whatever the height.
  const int64_t row_values = image.width * kChannels;
  AlignedBuffer<float> sums;
  HEARTH_RETURN_IF_ERROR(sums.Reset(static_cast<size_t>(row_values * pool.size())));
  pool.For(size, 8, [&](int64_t begin, int64_t end, int thread) {
    float* column_sums = sums.data() + row_values * thread;
    for (int64_t y = begin; y < end; ++y) {
      const Taps& rows = vertical.taps(y);
      const float* row_weights = vertical.weights(rows);
      std::fill(column_sums, column_sums + row_values, 0.0f);
      for (int64_t j = 0; j < rows.count; ++j) {
        AccumulateRow(image.data + (rows.first + j) * row_values, row_weights[j], row_values, column_sums);
      }
      float* out_row = out + y * size * kChannels;
      for (int64_t x = 0; x < size; ++x) {
        const Taps& columns = horizontal.taps(x);
        const float* column_weights = horizontal.weights(columns);
        const float* source = column_sums + columns.first * kChannels;
        float red = 0, green = 0, blue = 0;
        for (int64_t j = 0; j < columns.count; ++j, source += kChannels) {
          red += column_weights[j] * source[0];
          green += column_weights[j] * source[1];
          blue += column_weights[j] * source[2];
        }
        out_row[x * kChannels] = Quantise(red);
        out_row[x * kChannels + 1] = Quantise(green);
        out_row[x * kChannels + 2] = Quantise(blue);
      }
    }
  });
  return Status();
}

}  // namespace hearth
