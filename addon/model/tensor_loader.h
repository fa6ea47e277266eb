// Takes tensors out of a GGUF file: checks type and shape, and says which tensor was wrong and how.
#ifndef HEARTH_MODEL_TENSOR_LOADER_H_
#define HEARTH_MODEL_TENSOR_LOADER_H_

#include <string>

#include "addon/base/aligned_buffer.h"
#include "addon/base/status.h"
#include "addon/gguf/gguf.h"
#include "addon/ops/matmul.h"

namespace hearth {

class TensorLoader {
 public:
  explicit TensorLoader(const GgufFile& file) : file_(file) {}

  const GgufFile& file() const { return file_; }

  // A weight matrix of exactly this shape, where it lies in the file; pass -1 for a dimension that is free.
  // MODEL_INCOMPLETE when missing, MODEL_MISMATCH for another shape, MODEL_UNSUPPORTED for a type without kernels.
  StatusOr<Weight> Matrix(const std::string& name, int64_t rows, int64_t cols) const;

  // `n` values (any shape) as float32; -1 when any number is fine.
  StatusOr<AlignedBuffer<float>> Vector(const std::string& name, int64_t n) const;

 private:
  const GgufFile& file_;
};

}  // namespace hearth

#endif  // HEARTH_MODEL_TENSOR_LOADER_H_
