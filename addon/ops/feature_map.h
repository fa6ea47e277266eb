// A picture-shaped tensor inside the vision encoder: channels innermost (NHWC), so that a pixel is a row of a matrix
// and a 1x1 convolution is a matrix product over pixels.
#ifndef HEARTH_OPS_FEATURE_MAP_H_
#define HEARTH_OPS_FEATURE_MAP_H_

#include <cstdint>

#include "addon/base/mat.h"

namespace hearth {

// A view: owns nothing, passed by value.
struct FeatureMap {
  float* data = nullptr;  // [height, width, channels]
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;

  int64_t pixel_count() const { return height * width; }
  float* pixel(int64_t y, int64_t x) const { return data + (y * width + x) * channels; }
  MatF pixels() const { return MatF(data, pixel_count(), channels); }
};

}  // namespace hearth

#endif  // HEARTH_OPS_FEATURE_MAP_H_
