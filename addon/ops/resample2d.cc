#include "addon/ops/resample2d.h"

#include <algorithm>
#include <cstring>

namespace hearth {
namespace {

// The two inputs around an output position and the share of the second.
struct Neighbours {
  int64_t low, high;
  float share;

  Neighbours(int64_t out, float scale, int64_t in) {
    const float position = std::max(0.0f, scale * (static_cast<float>(out) + 0.5f) - 0.5f);
    low = std::min(static_cast<int64_t>(position), in - 1);
    high = std::min(low + 1, in - 1);
    share = std::clamp(position - static_cast<float>(low), 0.0f, 1.0f);
  }
};

}  // namespace

void UpsampleNearestInto(Exec& exec, FeatureMap in, int64_t channel, FeatureMap out) {
  exec.pool().For(out.height, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t x = 0; x < out.width; ++x) {
        std::memcpy(out.pixel(y, x) + channel, in.pixel(y * in.height / out.height, x * in.width / out.width),
                    static_cast<size_t>(in.channels) * sizeof(float));
      }
    }
  });
}

void PoolOrInterpolate(Exec& exec, FeatureMap in, FeatureMap out) {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t n = in.channels;
  if (in.height % out.height == 0 && in.width % out.width == 0) {
    const int64_t height = in.height / out.height, width = in.width / out.width;
    const float share = 1.0f / static_cast<float>(height * width);
    exec.pool().For(out.height, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t y = begin; y < end; ++y) {
        for (int64_t x = 0; x < out.width; ++x) {
          float* sum = out.pixel(y, x);
          std::fill(sum, sum + n, 0.0f);
          for (int64_t p = 0; p < height * width; ++p) {
            kernels.axpy_f32(1.0f, in.pixel(y * height + p / width, x * width + p % width), sum, n);
          }
          kernels.scale_f32(sum, share, nullptr, sum, n);
        }
      }
    });
    return;
  }
  const float scale_y = static_cast<float>(in.height) / static_cast<float>(out.height);
  const float scale_x = static_cast<float>(in.width) / static_cast<float>(out.width);
  exec.pool().For(out.height, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; ++y) {
      const Neighbours rows(y, scale_y, in.height);
      for (int64_t x = 0; x < out.width; ++x) {
        const Neighbours columns(x, scale_x, in.width);
        float* sum = out.pixel(y, x);
        std::fill(sum, sum + n, 0.0f);
        kernels.axpy_f32((1 - rows.share) * (1 - columns.share), in.pixel(rows.low, columns.low), sum, n);
        kernels.axpy_f32((1 - rows.share) * columns.share, in.pixel(rows.low, columns.high), sum, n);
        kernels.axpy_f32(rows.share * (1 - columns.share), in.pixel(rows.high, columns.low), sum, n);
        kernels.axpy_f32(rows.share * columns.share, in.pixel(rows.high, columns.high), sum, n);
      }
    }
  });
}

}  // namespace hearth
