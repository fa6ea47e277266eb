#include "addon/model/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "addon/gguf/gguf.h"
#include "addon/ops/kernel_lookup.h"

namespace hearth {
namespace {

// From this many bytes of keys on, a layer is given huge pages: attention over that many positions reads them in one
// go.
constexpr int64_t kHugeFrom = 16 << 20;

int64_t RowBytes(const Config& config, uint32_t type) {
  const BlockShape shape = BlockShapeOf(type);
  return config.kv_heads * (config.head_dim / shape.values * shape.bytes);
}

int64_t Ring(int64_t window, int64_t max_positions) { return std::min(max_positions, window + KvCache::kRingSlack); }

}  // namespace

KvCache::KvCache(const Config& config, uint32_t type, int64_t max_positions)
    : type_(type),
      kv_heads_(config.kv_heads),
      head_dim_(config.head_dim),
      window_(config.window),
      head_bytes_(RowBytes(config, type) / config.kv_heads),
      row_bytes_(RowBytes(config, type)),
      max_positions_(max_positions) {
  for (int i = 0; i < config.kv_layers; ++i) {
    layers_.emplace_back();
    layers_.back().local = config.local[i];
    layers_.back().capacity = config.local[i] ? ring() : max_positions_;
  }
}

int64_t KvCache::ring() const { return Ring(window_, max_positions_); }

Status KvCache::Reserve(int64_t positions) {
  if (positions > max_positions_) {
    return Error(Code::CONTEXT_FULL, "%lld positions do not fit a context of %lld", static_cast<long long>(positions),
                 static_cast<long long>(max_positions_));
  }
  for (Layer& layer : layers_) {
    if (layer.keys != nullptr) continue;
    const int64_t bytes = layer.capacity * row_bytes_;
    HEARTH_RETURN_IF_ERROR(layer.memory.Reserve(2 * Arena::Rounded(static_cast<size_t>(bytes)),
                                                bytes >= kHugeFrom ? Arena::Pages::kHuge : Arena::Pages::kSmall));
    layer.keys = layer.memory.Take(static_cast<size_t>(bytes));
    layer.values = layer.memory.Take(static_cast<size_t>(bytes));
  }
  reserved_ = std::max(reserved_, positions);
  return Status();
}

void KvCache::Store(const hearth_kernels& kernels, int index, int64_t position, const float* key, const float* value) {
  Layer& layer = layers_[index];
  const hearth_store_fn store = StoreOf(kernels, type_);
  uint8_t* key_row = layer.keys + position % layer.capacity * row_bytes_;
  uint8_t* value_row = layer.values + position % layer.capacity * row_bytes_;
  for (int64_t head = 0; head < kv_heads_; ++head) {
    store(key + head * head_dim_, head_dim_, key_row + head * head_bytes_);
    store(value + head * head_dim_, head_dim_, value_row + head * head_bytes_);
  }
}

void KvCache::Advance(int64_t positions) { first_kept_ = std::max(first_kept_, positions - ring()); }

KvRows KvCache::rows(int index) const {
  const Layer& layer = layers_[index];
  return {type_, layer.keys, layer.values, head_bytes_, row_bytes_, layer.capacity};
}

int64_t KvCache::LowestRewind() const { return first_kept_ == 0 ? 0 : first_kept_ + window_ - 1; }

int64_t KvCache::LowestRewindOfSaved(int64_t position) const {
  const int64_t first = std::max(SavedFrom(position), first_kept_);
  return first == 0 ? 0 : first + window_ - 1;
}

int64_t KvCache::SavedFrom(int64_t position) const {
  return std::max<int64_t>(0, position - window_ + 1 - kSavedSlack);
}

// The bytes: i64 first position that the rings had | K then V of every layer, from SavedFrom or from 0.
uint64_t KvCache::SavedBytes(int64_t position) const {
  uint64_t rows = 0;
  for (const Layer& layer : layers_)
    rows += 2 * static_cast<uint64_t>(layer.local ? position - SavedFrom(position) : position);
  return sizeof(int64_t) + rows * static_cast<uint64_t>(row_bytes_);
}

void KvCache::Save(int64_t position, uint8_t* out) const {
  const int64_t first = std::max(SavedFrom(position), first_kept_);
  std::memcpy(out, &first, sizeof first);
  out += sizeof first;
  for (const Layer& layer : layers_) {
    for (const uint8_t* rows : {layer.keys, layer.values}) {
      for (int64_t p = layer.local ? SavedFrom(position) : 0; p < position;) {
        const int64_t count = std::min(position - p, layer.capacity - p % layer.capacity);
        const size_t bytes = static_cast<size_t>(count * row_bytes_);
        std::memcpy(out, rows + p % layer.capacity * row_bytes_, bytes);
        out += bytes;
        p += count;
      }
    }
  }
}

Status KvCache::Load(int64_t position, const uint8_t* saved) {
  HEARTH_RETURN_IF_ERROR(Reserve(position));
  int64_t first;
  std::memcpy(&first, saved, sizeof first);
  saved += sizeof first;
  for (Layer& layer : layers_) {
    for (uint8_t* rows : {layer.keys, layer.values}) {
      for (int64_t p = layer.local ? SavedFrom(position) : 0; p < position;) {
        const int64_t count = std::min(position - p, layer.capacity - p % layer.capacity);
        const size_t bytes = static_cast<size_t>(count * row_bytes_);
        std::memcpy(rows + p % layer.capacity * row_bytes_, saved, bytes);
        saved += bytes;
        p += count;
      }
    }
  }
  // What comes from outside may say anything; the window itself is there in any case.
  first_kept_ = std::clamp(first, SavedFrom(position), std::max<int64_t>(0, position - window_ + 1));
  return Status();
}

uint64_t KvCache::bytes() const {
  int64_t rows = 0;
  for (const Layer& layer : layers_) rows += 2 * std::min(reserved_, layer.capacity);
  return static_cast<uint64_t>(rows * row_bytes_);
}

uint64_t KvCache::BytesFor(const Config& config, uint32_t type, int64_t positions) {
  uint64_t rows = 0;
  for (int i = 0; i < config.kv_layers; ++i)
    rows += 2 * static_cast<uint64_t>(config.local[i] ? Ring(config.window, positions) : positions);
  return rows * static_cast<uint64_t>(RowBytes(config, type));
}

}  // namespace hearth
