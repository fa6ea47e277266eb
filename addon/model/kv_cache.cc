#include "addon/model/kv_cache.h"

#include <algorithm>
#include <cstring>

#include "addon/gguf/gguf.h"
#include "addon/ops/kernel_lookup.h"

namespace hearth {
namespace {

constexpr int64_t kFirstCapacity = 256;

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
  }
}

int64_t KvCache::ring() const { return Ring(window_, max_positions_); }

Status KvCache::Reserve(int64_t positions, int64_t used) {
  if (positions > max_positions_) {
    return Error(Code::CONTEXT_FULL, "%lld positions do not fit a context of %lld", static_cast<long long>(positions),
                 static_cast<long long>(max_positions_));
  }
  for (Layer& layer : layers_) {
    const int64_t most = layer.local ? ring() : max_positions_;
    const int64_t wanted = std::min(positions, most);
    if (wanted <= layer.capacity) continue;
    // Growing by half keeps the copying linear in the length of the conversation. A ring that is not full yet has not
    // wrapped, so its rows move as they are.
    const int64_t capacity = std::min(most, std::max({wanted, layer.capacity + layer.capacity / 2, kFirstCapacity}));
    for (AlignedBuffer<uint8_t>* buffer : {&layer.keys, &layer.values}) {
      AlignedBuffer<uint8_t> grown;
      HEARTH_RETURN_IF_ERROR(grown.Reset(static_cast<size_t>(capacity * row_bytes_)));
      const size_t kept = static_cast<size_t>(std::min(used, layer.capacity) * row_bytes_);
      if (kept > 0) std::memcpy(grown.data(), buffer->data(), kept);
      *buffer = std::move(grown);
    }
    layer.capacity = capacity;
  }
  return Status();
}

void KvCache::Store(const hearth_kernels& kernels, int index, int64_t position, const float* key, const float* value) {
  Layer& layer = layers_[index];
  const hearth_store_fn store = StoreOf(kernels, type_);
  uint8_t* key_row = layer.keys.data() + position % layer.capacity * row_bytes_;
  uint8_t* value_row = layer.values.data() + position % layer.capacity * row_bytes_;
  for (int64_t head = 0; head < kv_heads_; ++head) {
    store(key + head * head_dim_, head_dim_, key_row + head * head_bytes_);
    store(value + head * head_dim_, head_dim_, value_row + head * head_bytes_);
  }
}

void KvCache::Advance(int64_t positions) { first_kept_ = std::max(first_kept_, positions - ring()); }

KvRows KvCache::rows(int index) const {
  const Layer& layer = layers_[index];
  return {type_, layer.keys.data(), layer.values.data(), head_bytes_, row_bytes_, layer.capacity};
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
    for (const AlignedBuffer<uint8_t>* buffer : {&layer.keys, &layer.values}) {
      for (int64_t p = layer.local ? SavedFrom(position) : 0; p < position;) {
        const int64_t count = std::min(position - p, layer.capacity - p % layer.capacity);
        const size_t bytes = static_cast<size_t>(count * row_bytes_);
        std::memcpy(out, buffer->data() + p % layer.capacity * row_bytes_, bytes);
        out += bytes;
        p += count;
      }
    }
  }
}

Status KvCache::Load(int64_t position, const uint8_t* saved) {
  HEARTH_RETURN_IF_ERROR(Reserve(position, 0));
  int64_t first;
  std::memcpy(&first, saved, sizeof first);
  saved += sizeof first;
  for (Layer& layer : layers_) {
    for (AlignedBuffer<uint8_t>* buffer : {&layer.keys, &layer.values}) {
      for (int64_t p = layer.local ? SavedFrom(position) : 0; p < position;) {
        const int64_t count = std::min(position - p, layer.capacity - p % layer.capacity);
        const size_t bytes = static_cast<size_t>(count * row_bytes_);
        std::memcpy(buffer->data() + p % layer.capacity * row_bytes_, saved, bytes);
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
  uint64_t total = 0;
  for (const Layer& layer : layers_) total += layer.keys.size() + layer.values.size();
  return total;
}

uint64_t KvCache::BytesFor(const Config& config, uint32_t type, int64_t positions) {
  uint64_t rows = 0;
  for (int i = 0; i < config.kv_layers; ++i)
    rows += 2 * static_cast<uint64_t>(config.local[i] ? Ring(config.window, positions) : positions);
  return rows * static_cast<uint64_t>(RowBytes(config, type));
}

}  // namespace hearth
