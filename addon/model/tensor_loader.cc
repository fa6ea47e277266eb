#include "addon/model/tensor_loader.h"

namespace hearth {

StatusOr<Weight> TensorLoader::Matrix(const std::string& name, int64_t rows, int64_t cols) const {
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* tensor, file_.Require(name));
  if (!HasKernels(tensor->type)) {
    return Error(Code::MODEL_UNSUPPORTED, "tensor %s has element %s, which cannot be computed with", name.c_str(),
                 BlockTypeName(tensor->type).c_str());
  }
  if ((rows >= 0 && tensor->rows() != rows) || (cols >= 0 && tensor->cols() != cols)) {
    return Error(Code::MODEL_MISMATCH, "tensor %s should be [%lld, %lld] (-1: any) but is [%lld, %lld]", name.c_str(),
                 static_cast<long long>(rows), static_cast<long long>(cols), static_cast<long long>(tensor->rows()),
                 static_cast<long long>(tensor->cols()));
  }
  Weight weight;
  weight.data = tensor->data;
  weight.type = tensor->type;
  weight.rows = tensor->rows();
  weight.cols = tensor->cols();
  weight.row_bytes = static_cast<int64_t>(tensor->row_bytes());
  return weight;
}

StatusOr<AlignedBuffer<float>> TensorLoader::Vector(const std::string& name, int64_t n) const {
  HEARTH_ASSIGN_OR_RETURN(const Weight weight, Matrix(name, -1, -1));
  if (n >= 0 && weight.rows * weight.cols != n) {
    return Error(Code::MODEL_MISMATCH, "tensor %s should have %lld values but has %lld", name.c_str(),
                 static_cast<long long>(n), static_cast<long long>(weight.rows * weight.cols));
  }
  AlignedBuffer<float> values;
  HEARTH_RETURN_IF_ERROR(values.Reset(static_cast<size_t>(weight.rows * weight.cols)));
  for (int64_t r = 0; r < weight.rows; ++r) {
    DequantizeRow(hearth_kernels_scalar, weight, r, values.data() + r * weight.cols);
  }
  return values;
}

}  // namespace hearth
