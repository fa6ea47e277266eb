// Causal attention of a run of query tokens over cached keys and values: grouped heads, optional sliding window.
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

// A layer's cached rows. Position p lies at row p % capacity; a row is kv_heads heads of head_bytes bytes.
struct KvRows {
  uint32_t type;  // hearth_block_type: F32, F16 or Q8_0 (kernels/kv_list.inc)
  const uint8_t* keys;
  const uint8_t* values;
  int64_t head_bytes;
  int64_t row_bytes;
  int64_t capacity;
};

// q: [tokens, heads * head_dim], token t at position first + t, whose keys and values are cached. out like q. Scores
// are not scaled (Gemma 3n's query norm does it). The order of every sum depends on positions alone, not on threads,
// and up to kAlikeTokens tokens get the bits each would get alone (ops/exec.h).
Status Attention(Exec& exec, const AttentionShape& shape, ConstMatF q, int64_t first, const KvRows& kv, MatF out);

}  // namespace hearth

#endif  // HEARTH_OPS_ATTENTION_H_
