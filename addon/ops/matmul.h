// y = x W^T for a weight matrix in any of the file's types.
#ifndef HEARTH_OPS_MATMUL_H_
#define HEARTH_OPS_MATMUL_H_

#include <cstdint>
#include <initializer_list>

#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/kernels/kernels.h"
#include "addon/ops/activations.h"
#include "addon/ops/exec.h"
#include "addon/ops/kernel_lookup.h"
#include "addon/ops/weight.h"

namespace hearth {

// False for a type without kernels (I32).
bool HasKernels(uint32_t type);

// out[w.cols] = row r as float32.
void DequantizeRow(const hearth_kernels& kernels, const Weight& w, int64_t r, float* out);

// y[t, r] = dot(w_r, x_t) for a row-major matrix: x is [tokens, w.cols], y is [tokens, w.rows]. Every y is computed by
// one thread in one order, whatever the number of threads; the order is that of one token alone up to kAlikeTokens.
Status MatMul(Exec& exec, const Weight& w, ConstMatF x, MatF y);

// x times `w`, in panels or row-major, over the first `cols` columns of its rows (0: all of them; a MatFormer slice of
// a down projection has fewer). y: [tokens, w.rows].
struct Product {
  Weight w;
  const Activations& x;
  MatF y;
  int64_t cols = 0;
};

// Several products of `tokens` rows in one parallel loop.
Status MatMul(Exec& exec, int64_t tokens, std::initializer_list<Product> products);

// What MatMul does for one thread: rows [begin, end) of w, multiples of 16 (but for the last), to y[t * ldy + r -
// begin]. `x` needs no float form when w is in panels, and no 8-bit form when it is not. ReserveRows first.
void MultiplyRows(Exec& exec, int thread, const Weight& w, int64_t begin, int64_t end, int64_t cols,
                  const Activations& x, int64_t tokens, float* y, int64_t ldy);
Status ReserveRows(Exec& exec, const Weight& w);

}  // namespace hearth

#endif  // HEARTH_OPS_MATMUL_H_
