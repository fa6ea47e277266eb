// Pictures on their way to the vision encoder: any size in, a square out.
//
// Bilinear with antialias, as the model was trained: torch's F.interpolate(mode="bilinear", antialias=True) of the
// 8-bit values, rounded to 8 bits again, then [0, 1]. The aspect ratio is not kept, and there is no mean or deviation.
#ifndef HEARTH_INPUT_IMAGE_H_
#define HEARTH_INPUT_IMAGE_H_

#include <cstdint>

#include "addon/base/status.h"
#include "addon/base/thread_pool.h"

namespace hearth {

// Borrowed pixels: rows from top to bottom without padding, three bytes (red, green, blue) a pixel.
struct RgbView {
  const uint8_t* data = nullptr;  // [height, width, 3]
  int64_t width = 0;
  int64_t height = 0;
};

// Longest side accepted; also what bounds the scratch memory (12 bytes a column and thread).
inline constexpr int64_t kMaxImageSide = 65535;

// out: [size, size, 3] in [0, 1], each value a multiple of 1/255. Any `size` from 1 to kMaxImageSide.
// IMAGE_INVALID for no pixels or a side outside [1, kMaxImageSide].
Status ResizeImage(ThreadPool& pool, const RgbView& image, int64_t size, float* out);

}  // namespace hearth

#endif  // HEARTH_INPUT_IMAGE_H_
