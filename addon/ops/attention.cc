#include "addon/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "addon/ops/kernel_lookup.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// Positions taken at a time; a tile of keys (or values) of one head as float32 is 64 KiB at a head of 256.
constexpr int64_t kTile = 64;
// Tokens that share the float32 copy of a tile.
constexpr int64_t kTokens = 8;
// Positions one task sees when few tokens attend, so that more threads than key heads have work.
constexpr int64_t kSplit = 256;

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

// A few tokens: a task is one key head and kSplit positions, which every token meets while they are in the cache; a
// token's partial results are merged in order of position. What a token gets does not depend on the others.
class FewTokens {
 public:
  FewTokens(Exec& exec, const AttentionShape& shape, ConstMatF q, int64_t first, const KvRows& kv, MatF out)
      : exec_(exec),
        shape_(shape),
        kv_(kv),
        q_(q),
        out_(out),
        first_(first),
        d_(shape.head_dim),
        group_(shape.heads / shape.kv_heads),
        first_split_(FirstSeen(shape, first) / kSplit),
        splits_((first + q.rows - 1) / kSplit + 1 - first_split_) {}

  Status Run() {
    HEARTH_RETURN_IF_ERROR(exec_.ReserveScratch(kSplit));
    // The partials of every task, in the first thread's memory.
    HEARTH_RETURN_IF_ERROR(
        exec_.ReserveScratch(static_cast<size_t>(q_.rows * shape_.heads * splits_ * stride()), Exec::kOuter));
    partials_ = exec_.scratch(0, Exec::kOuter);
    exec_.pool().For(splits_ * shape_.kv_heads, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t task = begin; task < end; ++task) {
        for (int64_t t = 0; t < q_.rows; ++t) Attend(t, task / splits_, task % splits_, exec_.scratch(thread));
      }
    });
    for (int64_t t = 0; t < q_.rows; ++t) {
      for (int64_t head = 0; head < shape_.heads; ++head) Merge(t, head);
    }
    return Status();
  }

 private:
  // A partial of a query head is its weighted values [d], then the maximum and the sum.
  int64_t stride() const { return d_ + 16; }
  float* partial(int64_t t, int64_t head, int64_t split) const {
    return partials_ + ((t * shape_.heads + head) * splits_ + split) * stride();
  }
  // The positions of a split, which lies at a multiple of kSplit, that a token sees; none where begin >= end.
  int64_t Begin(int64_t t, int64_t split) const {
    return std::max((first_split_ + split) * kSplit, FirstSeen(shape_, first_ + t));
  }
  int64_t End(int64_t t, int64_t split) const { return std::min((first_split_ + split + 1) * kSplit, first_ + t + 1); }

  void Attend(int64_t t, int64_t kv_head, int64_t split, float* scores) const {
    const hearth_kernels& kernels = exec_.kernels();
    const hearth_gemv_fn dot = GemvOf(kernels, kv_.type);
    const hearth_mix_fn mix = MixOf(kernels, kv_.type);
    const int64_t from = Begin(t, split), to = End(t, split);
    for (int64_t head = kv_head * group_; head < (kv_head + 1) * group_ && from < to; ++head) {
      float* sums = partial(t, head, split);
      std::fill(sums, sums + d_, 0.0f);
      Running running;
      for (int64_t p = from; p < to;) {
        const int64_t count = Contiguous(kv_, p, to);
        const int64_t at = p % kv_.capacity * kv_.row_bytes + kv_head * kv_.head_bytes;
        dot(kv_.keys + at, kv_.row_bytes, d_, q_.row(t) + head * d_, count, scores);
        const float scale = running.Add(scores, count);
        if (p > from) kernels.scale_f32(sums, scale, nullptr, sums, d_);
        mix(kv_.values + at, kv_.row_bytes, count, d_, scores, sums);
        p += count;
      }
      sums[d_] = running.max;
      sums[d_ + 1] = running.sum;
    }
  }

  void Merge(int64_t t, int64_t head) const {
    const hearth_kernels& kernels = exec_.kernels();
    const auto seen = [&](int64_t split) { return Begin(t, split) < End(t, split); };
    float max = -std::numeric_limits<float>::infinity(), sum = 0;
    for (int64_t s = 0; s < splits_; ++s) {
      if (seen(s)) max = std::max(max, partial(t, head, s)[d_]);
    }
    float* out = out_.row(t) + head * d_;
    std::fill(out, out + d_, 0.0f);
    for (int64_t s = 0; s < splits_; ++s) {
      if (!seen(s)) continue;
      const float weight = std::exp(partial(t, head, s)[d_] - max);
      sum += weight * partial(t, head, s)[d_ + 1];
      kernels.axpy_f32(weight, partial(t, head, s), out, d_);
    }
    kernels.scale_f32(out, 1.0f / sum, nullptr, out, d_);
  }

  Exec& exec_;
  const AttentionShape& shape_;
  const KvRows& kv_;
  const ConstMatF q_;
  const MatF out_;
  const int64_t first_, d_, group_, first_split_, splits_;
  float* partials_ = nullptr;
};

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
      if (from >= to) {
        std::fill(scores, scores + count, 0.0f);
        continue;
      }
      const float scale = running_[r].Add(scores + from, to - from);
      if (scale != 1.0f) kernels_.scale_f32(mixed_ + r * d_, scale, nullptr, mixed_ + r * d_, d_);
      std::fill(scores, scores + from, 0.0f);
      std::fill(scores + to, scores + count, 0.0f);
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

Status Attention(Exec& exec, const AttentionShape& shape, ConstMatF q, int64_t first, const KvRows& kv, MatF out) {
  if (q.rows <= kAlikeTokens) return FewTokens(exec, shape, q, first, kv, out).Run();
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
