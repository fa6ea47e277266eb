#include "addon/ops/conv.h"

#include <algorithm>
#include <cstring>

#include "addon/ops/float4.h"
#include "addon/ops/norm.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

constexpr float kEps = 1e-6f;  // timm RmsNorm2d

// Pixels are multiplied in blocks, so that a block is still in the cache when the next tile of weight rows and the
// pixel operations come to it: this many floats, but enough pixels to be worth unpacking the weights for again.
constexpr int64_t kBlockFloats = 1 << 17;
constexpr int64_t kMinPointwiseBlock = 256;
constexpr int64_t kMinPatchBlock = 64;
constexpr int64_t kPixelGrain = 16;

int64_t BlockPixels(int64_t floats_per_pixel, int64_t min) {
  return std::max(min, kBlockFloats / floats_per_pixel / 16 * 16);
}

// `first` is the row's place in the whole map (for the skip).
void ApplyPixelOps(const hearth_kernels& kernels, const PixelOps& ops, int64_t first, MatF pixels) {
  const int64_t n = pixels.cols;
  for (int64_t p = 0; p < pixels.rows; ++p) {
    float* y = pixels.row(p);
    if (ops.bias != nullptr) kernels.axpy_f32(1.0f, ops.bias, y, n);
    if (ops.norm != nullptr) RmsNormRow(kernels, y, ops.norm, kEps, n, y);
    if (ops.gelu) GeluTanhRow(y, n);
    if (ops.scale != nullptr) kernels.scale_f32(y, 1.0f, ops.scale, y, n);
    if (ops.skip != nullptr) kernels.axpy_f32(1.0f, ops.skip + (first + p) * n, y, n);
  }
}

bool Empty(const PixelOps& ops) {
  return ops.bias == nullptr && ops.norm == nullptr && !ops.gelu && ops.scale == nullptr && ops.skip == nullptr;
}

// Taps of a window that fall inside the picture, along one axis.
struct Window {
  int64_t start;       // input position of tap 0, may be negative
  int64_t begin, end;  // taps inside

  Window(int64_t out, int64_t stride, int64_t padding, int64_t kernel, int64_t in)
      : start(out * stride - padding), begin(std::max<int64_t>(0, -start)), end(std::min(kernel, in - start)) {}
};

// patch[kernel, kernel, channels] = the window around one output pixel, zero outside the picture.
void GatherPatch(FeatureMap in, const Window& rows, const Window& columns, int64_t kernel, float* patch) {
  const int64_t row_floats = kernel * in.channels;
  for (int64_t ky = 0; ky < kernel; ++ky, patch += row_floats) {
    if (ky < rows.begin || ky >= rows.end) {
      std::fill(patch, patch + row_floats, 0.0f);
      continue;
    }
    std::fill(patch, patch + columns.begin * in.channels, 0.0f);
    std::memcpy(patch + columns.begin * in.channels, in.pixel(rows.start + ky, columns.start + columns.begin),
                static_cast<size_t>((columns.end - columns.begin) * in.channels) * sizeof(float));
    std::fill(patch + columns.end * in.channels, patch + row_floats, 0.0f);
  }
}

// One output pixel: `kVectors` x 4 channels at a time stay in registers while the taps pass by.
template <int kVectors>
void DepthwiseChannels(const DepthwiseWeight& w, FeatureMap in, const Window& rows, const Window& columns, int64_t c,
                       float* out) {
  Float4 sums[kVectors] = {};
  for (int64_t ky = rows.begin; ky < rows.end; ++ky) {
    const float* x = in.pixel(rows.start + ky, columns.start + columns.begin) + c;
    const float* tap = w.values.data() + (ky * w.kernel + columns.begin) * w.channels + c;
    for (int64_t kx = columns.begin; kx < columns.end; ++kx, x += in.channels, tap += w.channels) {
      for (int v = 0; v < kVectors; ++v) sums[v] += Load4(x + 4 * v) * Load4(tap + 4 * v);
    }
  }
  for (int v = 0; v < kVectors; ++v) Store4(out + c + 4 * v, sums[v]);
}

void DepthwisePixel(const DepthwiseWeight& w, FeatureMap in, const Window& rows, const Window& columns, float* out) {
  int64_t c = 0;
  for (; c + 16 <= w.channels; c += 16) DepthwiseChannels<4>(w, in, rows, columns, c, out);
  for (; c + 4 <= w.channels; c += 4) DepthwiseChannels<1>(w, in, rows, columns, c, out);
  for (; c < w.channels; ++c) {
    float sum = 0;
    for (int64_t ky = rows.begin; ky < rows.end; ++ky) {
      for (int64_t kx = columns.begin; kx < columns.end; ++kx) {
        sum += in.pixel(rows.start + ky, columns.start + kx)[c] * w.values[(ky * w.kernel + kx) * w.channels + c];
      }
    }
    out[c] = sum;
  }
}

}  // namespace

int64_t SamePaddingBefore(int64_t in, int64_t kernel, int64_t stride) {
  return std::max<int64_t>(0, (SameOutputSize(in, stride) - 1) * stride + kernel - in) / 2;
}

Status PointwiseConv(Exec& exec, const Weight& w, ConstMatF in, const PixelOps& after, MatF out) {
  const int64_t block = BlockPixels(in.cols, kMinPointwiseBlock);
  for (int64_t first = 0; first < in.rows; first += block) {
    const int64_t count = std::min(block, in.rows - first);
    const MatF y = out.Rows(first, count);
    HEARTH_RETURN_IF_ERROR(MatMul(exec, w, in.Rows(first, count), y));
    if (Empty(after)) continue;
    exec.pool().For(count, kPixelGrain, [&](int64_t begin, int64_t end, int) {
      ApplyPixelOps(exec.kernels(), after, first + begin, y.Rows(begin, end - begin));
    });
  }
  return Status();
}

Status Conv2d(Exec& exec, const ConvWeight& w, int64_t stride, FeatureMap in, const PixelOps& after,
              AlignedBuffer<float>& patches, FeatureMap out) {
  const int64_t patch_floats = w.kernel * w.kernel * w.in;
  const int64_t block = BlockPixels(patch_floats, kMinPatchBlock);
  HEARTH_RETURN_IF_ERROR(patches.Reserve(static_cast<size_t>(std::min(block, out.pixel_count()) * patch_floats)));
  const Weight weight{reinterpret_cast<const uint8_t*>(w.values.data()), HEARTH_F32, w.out, patch_floats,
                      patch_floats * static_cast<int64_t>(sizeof(float))};
  const int64_t top = SamePaddingBefore(in.height, w.kernel, stride);
  const int64_t left = SamePaddingBefore(in.width, w.kernel, stride);
  for (int64_t first = 0; first < out.pixel_count(); first += block) {
    const int64_t count = std::min(block, out.pixel_count() - first);
    exec.pool().For(count, kPixelGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t p = begin; p < end; ++p) {
        const Window rows((first + p) / out.width, stride, top, w.kernel, in.height);
        const Window columns((first + p) % out.width, stride, left, w.kernel, in.width);
        GatherPatch(in, rows, columns, w.kernel, patches.data() + p * patch_floats);
      }
    });
    const MatF y = out.pixels().Rows(first, count);
    HEARTH_RETURN_IF_ERROR(MatMul(exec, weight, MatF(patches.data(), count, patch_floats), y));
    exec.pool().For(count, kPixelGrain, [&](int64_t begin, int64_t end, int) {
      ApplyPixelOps(exec.kernels(), after, first + begin, y.Rows(begin, end - begin));
    });
  }
  return Status();
}

void DepthwiseConv(Exec& exec, const DepthwiseWeight& w, int64_t stride, FeatureMap in, const PixelOps& after,
                   FeatureMap out) {
  const int64_t top = SamePaddingBefore(in.height, w.kernel, stride);
  const int64_t left = SamePaddingBefore(in.width, w.kernel, stride);
  exec.pool().For(out.height, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; ++y) {
      const Window rows(y, stride, top, w.kernel, in.height);
      for (int64_t x = 0; x < out.width; ++x) {
        DepthwisePixel(w, in, rows, Window(x, stride, left, w.kernel, in.width), out.pixel(y, x));
      }
      ApplyPixelOps(exec.kernels(), after, y * out.width, out.pixels().Rows(y * out.width, out.width));
    }
  });
}

}  // namespace hearth
