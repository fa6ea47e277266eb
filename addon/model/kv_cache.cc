#include "addon/model/kv_cache.h"

#include <algorithm>
#include <cstring>

namespace hearth {

Status KvCache::Reserve(int64_t positions, int64_t used) {
  if (positions <= capacity_) return Status();
  if (positions > max_positions_) {
    return Error(Code::CONTEXT_FULL, "%lld positions do not fit a context of %lld", static_cast<long long>(positions),
                 static_cast<long long>(max_positions_));
  }
  // Growing by half keeps the copying linear in the length of the conversation.
  KvCache grown(layers_, kv_dim_, max_positions_);
  grown.capacity_ = std::min(max_positions_, std::max<int64_t>({positions, capacity_ + capacity_ / 2, 256}));
  HEARTH_RETURN_IF_ERROR(grown.storage_.Reset(static_cast<size_t>(2 * layers_ * grown.capacity_ * kv_dim_)));
  for (int layer = 0; layer < layers_ && used > 0; ++layer) {
    const size_t bytes = static_cast<size_t>(used * kv_dim_) * sizeof(float);
    std::memcpy(grown.keys(layer).data, keys(layer).data, bytes);
    std::memcpy(grown.values(layer).data, values(layer).data, bytes);
  }
  std::swap(capacity_, grown.capacity_);
  std::swap(storage_, grown.storage_);
  return Status();
}

}  // namespace hearth
