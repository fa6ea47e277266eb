#include "addon/ops/conv.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

// `first` is the row's place in the whole map.
void ApplyToRows(const hearth_kernels& kernels, const PixelOps& ops, int64_t first, MatF pixels) {
  for (int64_t p = 0; p < pixels.rows; ++p) ApplyPixelOps(kernels, ops, first + p, pixels.cols, pixels.row(p));
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

}  // namespace

int64_t SamePaddingBefore(int64_t in, int64_t kernel, int64_t stride) {
  return std::max<int64_t>(0, (SameOutputSize(in, stride) - 1) * stride + kernel - in) / 2;
}

void ApplyPixelOps(const hearth_kernels& kernels, const PixelOps& ops, int64_t pixel, int64_t n, float* y) {
  if (ops.bias != nullptr) kernels.axpy_f32(1.0f, ops.bias, y, n);
  float scale = 1.0f;
  if (ops.norm != nullptr) scale /= std::sqrt(kernels.sum_squares_f32(y, n) / static_cast<float>(n) + kEps);
  if (ops.gelu) {
    kernels.gelu_f32(y, scale, ops.norm, y, n);
  } else if (ops.norm != nullptr) {
    kernels.scale_f32(y, scale, ops.norm, y, n);
  }
  if (ops.scale != nullptr) kernels.scale_f32(y, 1.0f, ops.scale, y, n);
  if (ops.skip != nullptr) kernels.axpy_f32(1.0f, ops.skip + pixel * n, y, n);
}

Weight ConvWeight::matrix() const {
  const int64_t cols = kernel * kernel * in;
  return {reinterpret_cast<const uint8_t*>(values.data()), HEARTH_F32, out, cols,
          cols * static_cast<int64_t>(sizeof(float))};
}

void GatherPatch(const Activations& in, int64_t height, int64_t width, int64_t kernel, int64_t stride, int64_t y,
                 int64_t x, int64_t t, Activations* patches) {
  const Window rows(y, stride, SamePaddingBefore(height, kernel, stride), kernel, height);
  const Window columns(x, stride, SamePaddingBefore(width, kernel, stride), kernel, width);
  const int64_t blocks = in.cols() / 32, row_blocks = kernel * blocks;
  for (int64_t ky = 0, at = 0; ky < kernel; ++ky, at += row_blocks) {
    if (ky < rows.begin || ky >= rows.end) {
      patches->ClearBlocks(t, at, row_blocks);
      continue;
    }
    const int64_t first = (rows.start + ky) * width + columns.start + columns.begin;
    patches->ClearBlocks(t, at, columns.begin * blocks);
    patches->CopyBlocks(t, at + columns.begin * blocks, in, first, 0, (columns.end - columns.begin) * blocks);
    patches->ClearBlocks(t, at + columns.end * blocks, (kernel - columns.end) * blocks);
  }
}

void DepthwisePixel(const hearth_kernels& kernels, const DepthwiseWeight& w, int64_t stride, const MapRows& in,
                    int64_t y, int64_t x, float* out) {
  const Window rows(y, stride, SamePaddingBefore(in.height, w.kernel, stride), w.kernel, in.height);
  const Window columns(x, stride, SamePaddingBefore(in.rows.width, w.kernel, stride), w.kernel, in.rows.width);
  kernels.depthwise_f32(in.rows.pixel(rows.start + rows.begin - in.first, columns.start + columns.begin),
                        in.rows.width * w.channels,
                        w.values.data() + (rows.begin * w.kernel + columns.begin) * w.channels, w.kernel * w.channels,
                        rows.end - rows.begin, columns.end - columns.begin, w.channels, out);
}

Status PointwiseConv(Exec& exec, const Weight& w, ConstMatF in, const PixelOps& after, MatF out) {
  const int64_t block = BlockPixels(in.cols, kMinPointwiseBlock);
  for (int64_t first = 0; first < in.rows; first += block) {
    const int64_t count = std::min(block, in.rows - first);
    const MatF y = out.Rows(first, count);
    HEARTH_RETURN_IF_ERROR(MatMul(exec, w, in.Rows(first, count), y));
    if (Empty(after)) continue;
    exec.pool().For(count, kPixelGrain, [&](int64_t begin, int64_t end, int) {
      ApplyToRows(exec.kernels(), after, first + begin, y.Rows(begin, end - begin));
    });
  }
  return Status();
}

Status Conv2d(Exec& exec, const ConvWeight& w, int64_t stride, FeatureMap in, const PixelOps& after,
              AlignedBuffer<float>& patches, FeatureMap out) {
  const int64_t patch_floats = w.kernel * w.kernel * w.in;
  const int64_t block = BlockPixels(patch_floats, kMinPatchBlock);
  HEARTH_RETURN_IF_ERROR(patches.Reserve(static_cast<size_t>(std::min(block, out.pixel_count()) * patch_floats)));
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
    HEARTH_RETURN_IF_ERROR(MatMul(exec, w.matrix(), MatF(patches.data(), count, patch_floats), y));
    exec.pool().For(count, kPixelGrain, [&](int64_t begin, int64_t end, int) {
      ApplyToRows(exec.kernels(), after, first + begin, y.Rows(begin, end - begin));
    });
  }
  return Status();
}

void DepthwiseConv(Exec& exec, const DepthwiseWeight& w, int64_t stride, FeatureMap in, const PixelOps& after,
                   FeatureMap out) {
  const MapRows rows{in, 0, in.height};
  exec.pool().For(out.height, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t x = 0; x < out.width; ++x) {
        DepthwisePixel(exec.kernels(), w, stride, rows, y, x, out.pixel(y, x));
        ApplyPixelOps(exec.kernels(), after, y * out.width + x, out.channels, out.pixel(y, x));
      }
    }
  });
}

}  // namespace hearth
