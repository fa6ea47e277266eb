// y = x W^T for a weight matrix in any of the file's types.
#ifndef HEARTH_OPS_MATMUL_H_
#define HEARTH_OPS_MATMUL_H_

#include <cstdint>

#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/kernels/kernels.h"
#include "addon/ops/exec.h"
#include "addon/ops/weight.h"

namespace hearth {

// False for a type without kernels (I32).
bool HasKernels(uint32_t type);

// The kernels of a weight's type; null for a type without.
hearth_gemv_fn GemvOf(const hearth_kernels& kernels, uint32_t type);
hearth_dequantize_fn DequantizeOf(const hearth_kernels& kernels, uint32_t type);

// out[w.cols] = row r as float32.
void DequantizeRow(const hearth_kernels& kernels, const Weight& w, int64_t r, float* out);

// y[t, r] = dot(w_r, x_t): x is [tokens, w.cols], y is [tokens, w.rows]. Every y is computed by one thread in one
// order, whatever the number of threads or tokens around it.
Status MatMul(Exec& exec, const Weight& w, ConstMatF x, MatF y);

// The first `cols` columns of each row only (a MatFormer slice of a down projection); a multiple of the type's block.
Status MatMulPrefix(Exec& exec, const Weight& w, int64_t cols, ConstMatF x, MatF y);

}  // namespace hearth

#endif  // HEARTH_OPS_MATMUL_H_
