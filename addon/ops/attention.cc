#include "addon/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "addon/gguf/block_types.h"
#include "addon/ops/matmul.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// Positions taken at a time; a tile of keys (or values) of one head as float32 is 64 KiB at a head of 256.
constexpr int64_t kTile = 64;
// Tokens that share the float32 copy of a tile.
constexpr int64_t kTokens = 8;
// Positions one task sees when a single token attends, so that more threads than key heads have work.
constexpr int64_t kSplit = 256;

hearth_mix_fn MixOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
    case HEARTH_F32:
      return kernels.mix_f32;
    case HEARTH_F16:
      return kernels.mix_f16;
    case HEARTH_Q8_0:
      return kernels.mix_q8_0;
  }
  return nullptr;
}

// Softmax over scores that arrive in pieces: what was summed so far is scaled down when a larger score comes.
struct Running {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;

  // scores[n] become weights relative to the new maximum; returns what earlier sums must be multiplied with.
  float Add(float* scores, int64_t n) {
    const float largest = std::max(max, *std::max_element(scores, scores + n));
    const float scale = std::exp(max - largest);
    max = largest;
    sum = sum * scale + ExpSumRow(scores, n, largest);
    return scale;
  }
};

int64_t FirstSeen(const AttentionShape& shape, int64_t position) {
  return shape.window > 0 ? std::max<int64_t>(0, position - shape.window + 1) : 0;
}

// Positions from `begin` on that lie in one piece.
int64_t Contiguous(const KvRows& kv, int64_t begin, int64_t end) {
  return std::min(end - begin, kv.capacity - begin % kv.capacity);
}

// One token: a task is one key head and kSplit positions, its partial results are merged in order of position.
// A partial of a query head is its weighted values [d], then the maximum and the sum.
Status AttendOne(Exec& exec, const AttentionShape& shape, const float* q, int64_t position, const KvRows& kv,
                 float* out) {
  const hearth_kernels& kernels = exec.kernels();
  const int64_t d = shape.head_dim, group = shape.heads / shape.kv_heads, stride = d + 16;
  const int64_t first = FirstSeen(shape, position) / kSplit;  // splits lie at multiples of kSplit
  const int64_t splits = position / kSplit + 1 - first;
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(kSplit));
  // The partials of every task, in the first thread's memory.
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(splits * shape.heads * stride), Exec::kOuter));
  float* partials = exec.scratch(0, Exec::kOuter);
  const hearth_gemv_fn dot = GemvOf(kernels, kv.type);
  const hearth_mix_fn mix = MixOf(kernels, kv.type);
  exec.pool().For(splits * shape.kv_heads, 1, [&](int64_t begin, int64_t end, int thread) {
    float* scores = exec.scratch(thread);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head = task / splits, split = task % splits;
      const int64_t from = std::max((first + split) * kSplit, FirstSeen(shape, position));
      const int64_t to = std::min((first + split + 1) * kSplit, position + 1);
      for (int64_t i = 0; i < group; ++i) {
        float* partial = partials + ((head * group + i) * splits + split) * stride;
        std::fill(partial, partial + d, 0.0f);
        Running running;
        for (int64_t p = from; p < to;) {
          const int64_t count = Contiguous(kv, p, to);
          const int64_t at = p % kv.capacity * kv.row_bytes + head * kv.head_bytes;
          dot(kv.keys + at, kv.row_bytes, d, q + (head * group + i) * d, count, scores);
          const float scale = running.Add(scores, count);
          if (p > from) kernels.scale_f32(partial, scale, nullptr, partial, d);
          mix(kv.values + at, kv.row_bytes, count, d, scores, partial);
          p += count;
        }
        partial[d] = running.max;
        partial[d + 1] = running.sum;
      }
    }
  });
  for (int64_t head = 0; head < shape.heads; ++head) {
    const float* partial = partials + head * splits * stride;
    float max = partial[d];
    for (int64_t s = 1; s < splits; ++s) max = std::max(max, partial[s * stride + d]);
    float sum = 0;
    std::fill(out + head * d, out + (head + 1) * d, 0.0f);
    for (int64_t s = 0; s < splits; ++s) {
      const float weight = std::exp(partial[s * stride + d] - max);
      sum += weight * partial[s * stride + d + 1];
      kernels.axpy_f32(weight, partial + s * stride, out + head * d, d);
    }
    kernels.scale_f32(out + head * d, 1.0f / sum, nullptr, out + head * d, d);
  }
  return Status();
}

// Several tokens: a task is one key head and kTokens tokens, whose query heads meet a tile of keys and values together.
class BlockTask {
 public:
  BlockTask(const hearth_kernels& kernels, const AttentionShape& shape, const KvRows& kv, float* scratch)
      : kernels_(kernels), shape_(shape), kv_(kv), d_(shape.head_dim), group_(shape.heads / shape.kv_heads) {
    const int64_t rows = kTokens * group_;
    query_ = scratch;
    mixed_ = query_ + rows * d_;
    tile_ = mixed_ + rows * d_;
    scores_ = tile_ + kTile * d_;
    running_ = reinterpret_cast<Running*>(scores_ + rows * kTile);
  }
  static size_t ScratchFloats(const AttentionShape& shape) {
    const int64_t rows = kTokens * (shape.heads / shape.kv_heads);
    return static_cast<size_t>(2 * rows * shape.head_dim + kTile * shape.head_dim + rows * kTile + rows * 2);
  }

  void Run(ConstMatF q, int64_t head, int64_t token, int64_t tokens, int64_t first, MatF out) {
    const int64_t rows = tokens * group_;
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(query_ + r * d_, q.row(token + r / group_) + (head * group_ + r % group_) * d_,
                  static_cast<size_t>(d_) * sizeof(float));
      running_[r] = Running();
    }
    std::fill(mixed_, mixed_ + rows * d_, 0.0f);
    const int64_t begin = FirstSeen(shape_, first + token), end = first + token + tokens;
    for (int64_t p = begin; p < end;) {
      // Tiles end at multiples of kTile: what is summed together depends on positions alone.
      const int64_t count = Contiguous(kv_, p, std::min(end, (p / kTile + 1) * kTile));
      Tile(head, first + token, rows, p, count);
      p += count;
    }
    for (int64_t r = 0; r < rows; ++r) {
      kernels_.scale_f32(mixed_ + r * d_, 1.0f / running_[r].sum, nullptr,
                         out.row(token + r / group_) + (head * group_ + r % group_) * d_, d_);
    }
  }

 private:
  void Load(const uint8_t* rows, int64_t p, int64_t head, int64_t count) {
    const hearth_dequantize_fn dequantize = DequantizeOf(kernels_, kv_.type);
    const uint8_t* at = rows + p % kv_.capacity * kv_.row_bytes + head * kv_.head_bytes;
    for (int64_t i = 0; i < count; ++i) dequantize(at + i * kv_.row_bytes, d_, tile_ + i * d_);
  }

  void Tile(int64_t head, int64_t first, int64_t rows, int64_t p, int64_t count) {
    Load(kv_.keys, p, head, count);
    kernels_.gemm_f32(tile_, d_, query_, d_, d_, count, rows, scores_, kTile);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t position = first + r / group_;
      float* scores = scores_ + r * kTile;
      const int64_t from = std::clamp<int64_t>(FirstSeen(shape_, position) - p, 0, count);
      const int64_t to = std::clamp<int64_t>(position + 1 - p, 0, count);
      if (from < to) {
        const float scale = running_[r].Add(scores + from, to - from);
        if (scale != 1.0f) kernels_.scale_f32(mixed_ + r * d_, scale, nullptr, mixed_ + r * d_, d_);
      }
      std::fill(scores, scores + std::min(from, to), 0.0f);
      if (from >= to) std::fill(scores, scores + count, 0.0f);
      std::fill(scores + std::max(from, to), scores + count, 0.0f);
    }
    Load(kv_.values, p, head, count);
    kernels_.mix_tokens_f32(tile_, d_, scores_, kTile, count, d_, rows, mixed_, d_);
  }

  const hearth_kernels& kernels_;
  const AttentionShape& shape_;
  const KvRows& kv_;
  const int64_t d_, group_;
  float* query_;      // [rows, d]
  float* mixed_;      // [rows, d]
  float* tile_;       // [kTile, d]
  float* scores_;     // [rows, kTile]
  Running* running_;  // [rows]
};

}  // namespace

bool IsKvType(uint32_t type) { return MixOf(hearth_kernels_scalar, type) != nullptr; }

hearth_store_fn StoreOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
    case HEARTH_F32:
      return kernels.store_f32;
    case HEARTH_F16:
      return kernels.store_f16;
    case HEARTH_Q8_0:
      return kernels.store_q8_0;
  }
  return nullptr;
}

Status Attention(Exec& exec, const AttentionShape& shape, ConstMatF q, int64_t first, const KvRows& kv, MatF out) {
  if (q.rows == 1) return AttendOne(exec, shape, q.data, first, kv, out.data);
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(BlockTask::ScratchFloats(shape)));
  const int64_t blocks = (q.rows + kTokens - 1) / kTokens;
  exec.pool().For(blocks * shape.kv_heads, 1, [&](int64_t begin, int64_t end, int thread) {
    BlockTask task(exec.kernels(), shape, kv, exec.scratch(thread));
    for (int64_t i = begin; i < end; ++i) {
      // Later tokens see more: one from the front, one from the back, so that the threads' shares are alike.
      const int64_t block = i / shape.kv_heads;
      const int64_t token = (block % 2 == 0 ? block / 2 : blocks - 1 - block / 2) * kTokens;
      task.Run(q, i % shape.kv_heads, token, std::min(kTokens, q.rows - token), first, out);
    }
  });
  return Status();
}

}  // namespace hearth
