// Attention of every pixel over all pixels, with one key and value head for all query heads (multi-query).
#ifndef HEARTH_OPS_MULTI_QUERY_ATTENTION_H_
#define HEARTH_OPS_MULTI_QUERY_ATTENTION_H_

#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/ops/exec.h"

namespace hearth {

// out = softmax(q k^T / sqrt(key_dim)) v.
// q: [queries, key_dim], all heads of a pixel as consecutive rows; k: [positions, key_dim]; v: [positions, value_dim];
// out: [queries, value_dim].
Status MultiQueryAttention(Exec& exec, ConstMatF q, ConstMatF k, ConstMatF v, MatF out);

}  // namespace hearth

#endif  // HEARTH_OPS_MULTI_QUERY_ATTENTION_H_
