// Convolutions over feature maps: 1x1, k x k, and depthwise, each with what follows it pixel by pixel.
//
// Padding is TensorFlow's "same": the output has ceil(in / stride) pixels a side, and an odd number of padding pixels
// puts the extra one at the bottom and right. A 3x3 of stride 2 over an even side therefore pads below and right only.
#ifndef HEARTH_OPS_CONV_H_
#define HEARTH_OPS_CONV_H_

#include <cstdint>

#include "addon/base/aligned_buffer.h"
#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/ops/activations.h"
#include "addon/ops/exec.h"
#include "addon/ops/feature_map.h"
#include "addon/ops/matmul.h"

namespace hearth {

// Runs on each pixel right after the convolution, in the order of the members; null or false leaves a step out.
struct PixelOps {
  const float* bias = nullptr;  // [channels]
  const float* norm = nullptr;  // RMSNorm weight [channels], eps 1e-6
  bool gelu = false;
  const float* scale = nullptr;  // layer scale [channels]
  const float* skip = nullptr;   // added: a map of the output's shape
};

// y[n]: the pixel's values; `pixel`: its place in the map, for the skip.
void ApplyPixelOps(const hearth_kernels& kernels, const PixelOps& ops, int64_t pixel, int64_t n, float* y);

// Output pixels along a side of `in` pixels.
inline int64_t SameOutputSize(int64_t in, int64_t stride) { return (in + stride - 1) / stride; }
// Padding before the first pixel of that side.
int64_t SamePaddingBefore(int64_t in, int64_t kernel, int64_t stride);

// 1x1: out pixel = w x in pixel. w: [out.channels, in.channels].
Status PointwiseConv(Exec& exec, const Weight& w, ConstMatF in, const PixelOps& after, MatF out);

struct ConvWeight {
  AlignedBuffer<float> values;  // [out, kernel, kernel, in]; empty once they are in panels
  int64_t out = 0;
  int64_t in = 0;
  int64_t kernel = 0;
  Weight panels = {};  // [out, kernel * kernel * in]; empty as long as the values are there

  // The values as a matrix of that shape.
  Weight matrix() const;
};

// Full k x k, of the values. `out` has the "same" size for the stride; `patches` is scratch that grows to at most a
// megabyte or so.
Status Conv2d(Exec& exec, const ConvWeight& w, int64_t stride, FeatureMap in, const PixelOps& after,
              AlignedBuffer<float>& patches, FeatureMap out);

// The window around output pixel (y, x) of a k x k convolution, as row t of `patches`; `in`: the map's pixels in 8
// bits, [height * width, multiple of 32].
void GatherPatch(const Activations& in, int64_t height, int64_t width, int64_t kernel, int64_t stride, int64_t y,
                 int64_t x, int64_t t, Activations* patches);

struct DepthwiseWeight {
  AlignedBuffer<float> values;  // [kernel, kernel, channels]
  int64_t channels = 0;
  int64_t kernel = 0;

  bool empty() const { return values.size() == 0; }
};

// Each channel with its own k x k filter. `out` must not be `in`.
void DepthwiseConv(Exec& exec, const DepthwiseWeight& w, int64_t stride, FeatureMap in, const PixelOps& after,
                   FeatureMap out);

// Rows [first, first + rows.height) of a map that is `height` pixels high.
struct MapRows {
  FeatureMap rows;
  int64_t first = 0;
  int64_t height = 0;
};

// One of its output pixels; the input rows it needs are among those of `in`. out: [channels].
void DepthwisePixel(const hearth_kernels& kernels, const DepthwiseWeight& w, int64_t stride, const MapRows& in,
                    int64_t y, int64_t x, float* out);

}  // namespace hearth

#endif  // HEARTH_OPS_CONV_H_
