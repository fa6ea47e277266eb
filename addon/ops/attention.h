// Causal attention of a run of query tokens over a KV cache, grouped heads, optional sliding window.
#ifndef HEARTH_OPS_ATTENTION_H_
#define HEARTH_OPS_ATTENTION_H_

#include <cstdint>

#include "addon/base/mat.h"
#include "addon/base/status.h"
#include "addon/ops/exec.h"

namespace hearth {

struct AttentionShape {
  int heads;
  int kv_heads;
  int64_t head_dim;
  int64_t window;  // positions a query sees, its own included; 0 for all
};

// q: [tokens, heads * head_dim], token t at position first + t. keys, values: [positions, kv_heads * head_dim], filled
// up to the last query's position. out like q. Scores are not scaled (Gemma 3n's query norm does it).
Status Attention(Exec& exec, const AttentionShape& shape, ConstMatF q, int64_t first, ConstMatF keys, ConstMatF values,
                 MatF out);

}  // namespace hearth

#endif  // HEARTH_OPS_ATTENTION_H_
