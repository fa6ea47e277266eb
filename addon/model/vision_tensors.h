// Takes the vision encoder's tensors out of the file: checks shapes, rearranges convolution weights for feature maps,
// and remembers what was taken, so that a tensor nobody asked for is an error and not a block silently left out.
#ifndef HEARTH_MODEL_VISION_TENSORS_H_
#define HEARTH_MODEL_VISION_TENSORS_H_

#include <cstdint>
#include <string>
#include <unordered_set>

#include "addon/base/aligned_buffer.h"
#include "addon/base/status.h"
#include "addon/model/tensor_loader.h"
#include "addon/ops/conv.h"

namespace hearth {

class VisionTensors {
 public:
  explicit VisionTensors(const GgufFile& file) : loader_(file) {}

  bool Has(const std::string& name) const { return loader_.file().Find(name) != nullptr; }

  // A vector of `n` values; -1 for any number.
  StatusOr<AlignedBuffer<float>> Vector(const std::string& name, int64_t n);

  // 1x1 convolution [out, in], where it lies in the file; -1 for any number. Also takes PyTorch's [out, in, 1, 1].
  StatusOr<Weight> Pointwise(const std::string& name, int64_t out, int64_t in);

  // k x k convolution, PyTorch's [out, in, k, k] in the file; `out` may be -1. k is odd, 1 to 7.
  StatusOr<ConvWeight> Conv(const std::string& name, int64_t out, int64_t in);

  // Depthwise convolution, PyTorch's [channels, 1, k, k] in the file.
  StatusOr<DepthwiseWeight> Depthwise(const std::string& name, int64_t channels);

  // MODEL_UNSUPPORTED when the file has a tensor of the vision encoder ("v.") that was not taken.
  Status CheckAllTaken() const;

 private:
  // The tensor's values in file order, after its shape was found to be [out, in, k, k].
  StatusOr<AlignedBuffer<float>> ConvValues(const std::string& name, int64_t out, int64_t in, int64_t* kernel);

  TensorLoader loader_;
  std::unordered_set<std::string> taken_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_VISION_TENSORS_H_
