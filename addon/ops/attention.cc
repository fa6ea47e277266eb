#include "addon/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "addon/ops/kernel_lookup.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// Positions taken at a time; a tile of keys (or values) of one head as float32 is 32 KiB at a head of 256, which a
// first level cache holds.
constexpr int64_t kTile = 32;
// Tokens that share the float32 copy of a tile, where many attend. 32 tokens of four heads are 272 KiB beside it.
constexpr int64_t kLeastTokens = 8, kMostTokens = 32;
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

// What one thread needs to have some tokens attend with the query heads that share a key head. A tile of keys, and then
// of values, becomes float32 once for all of them.
//
// What a token gets depends on the positions that are taken together (tiles end at multiples of kTile), not on the
// other tokens: a position that a token does not see adds zero to its sums.
class TileTask {
 public:
  // `scratch`: ScratchFloats(shape, tokens) floats, for at most `tokens` tokens at a time.
  TileTask(const hearth_kernels& kernels, const AttentionShape& shape, const KvRows& kv, int64_t tokens, float* scratch)
      : kernels_(kernels),
        shape_(shape),
        kv_(kv),
        dequantize_(DequantizeOf(kernels, kv.type)),
        d_(shape.head_dim),
        group_(shape.heads / shape.kv_heads) {
    const int64_t rows = tokens * group_;
    query_ = scratch;
    mixed_ = query_ + rows * d_;
    tile_ = mixed_ + rows * d_;
    scores_ = tile_ + kTile * d_;
    running_ = reinterpret_cast<Running*>(scores_ + rows * kTile);
  }
  static size_t ScratchFloats(const AttentionShape& shape, int64_t tokens) {
    const int64_t rows = tokens * (shape.heads / shape.kv_heads);
    return static_cast<size_t>(2 * rows * shape.head_dim + kTile * shape.head_dim + rows * kTile + rows * 2);
  }

  // Tokens [token, token + tokens) of q, of which the first is at position `first`, over positions [begin, end).
  void Run(ConstMatF q, int64_t head, int64_t token, int64_t tokens, int64_t first, int64_t begin, int64_t end) {
    const int64_t rows = tokens * group_;
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(query_ + r * d_, q.row(token + r / group_) + (head * group_ + r % group_) * d_,
                  static_cast<size_t>(d_) * sizeof(float));
      running_[r] = Running();
    }
    std::fill(mixed_, mixed_ + rows * d_, 0.0f);
    for (int64_t p = begin; p < end;) {
      const int64_t count = Contiguous(kv_, p, std::min(end, (p / kTile + 1) * kTile));
      Tile(head, first, rows, p, count);
      p += count;
    }
  }

  // What Run has summed for query head `member` of the group and the `t`th of its tokens: [d], relative to the maximum.
  const float* mixed(int64_t t, int64_t member) const { return mixed_ + (t * group_ + member) * d_; }
  const Running& running(int64_t t, int64_t member) const { return running_[t * group_ + member]; }
  int64_t group() const { return group_; }

 private:
  // Rows of keys or values as float32. Those of other heads lie between them, and no hardware looks ahead across pages.
  void Load(const uint8_t* rows, int64_t p, int64_t head, int64_t count) {
    constexpr int64_t kAhead = 8;
    const uint8_t* at = rows + p % kv_.capacity * kv_.row_bytes + head * kv_.head_bytes;
    for (int64_t i = 0; i < count; ++i, at += kv_.row_bytes) {
      for (int64_t line = 0; line < kv_.head_bytes; line += 64) __builtin_prefetch(at + kAhead * kv_.row_bytes + line);
      dequantize_(at, d_, tile_ + i * d_);
    }
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
  const hearth_dequantize_fn dequantize_;
  const int64_t d_, group_;
  float* query_;      // [rows, d]
  float* mixed_;      // [rows, d]
  float* tile_;       // [kTile, d]
  float* scores_;     // [rows, kTile]
  Running* running_;  // [rows]
};

// A few tokens: a task is one key head and kSplit positions, which all tokens meet together; a token's partial results
// are merged in order of position.
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
        first_split_(FirstSeen(shape, first) / kSplit),
        splits_((first + q.rows - 1) / kSplit + 1 - first_split_) {}

  Status Run() {
    HEARTH_RETURN_IF_ERROR(exec_.ReserveScratch(TileTask::ScratchFloats(shape_, q_.rows)));
    // The partials of every task, in the first thread's memory.
    HEARTH_RETURN_IF_ERROR(
        exec_.ReserveScratch(static_cast<size_t>(q_.rows * shape_.heads * splits_ * stride()), Exec::kOuter));
    partials_ = exec_.scratch(0, Exec::kOuter);
    exec_.pool().For(splits_ * shape_.kv_heads, 1, [&](int64_t begin, int64_t end, int thread) {
      TileTask task(exec_.kernels(), shape_, kv_, q_.rows, exec_.scratch(thread));
      // The heads of a position lie side by side: what is fetched along with one is used by the next.
      for (int64_t i = begin; i < end; ++i) Attend(task, i % shape_.kv_heads, i / shape_.kv_heads);
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

  void Attend(TileTask& task, int64_t kv_head, int64_t split) const {
    // A split lies at a multiple of kSplit; tokens see it up to where they are, and from where their window begins.
    const int64_t from = std::max((first_split_ + split) * kSplit, FirstSeen(shape_, first_));
    const int64_t to = std::min((first_split_ + split + 1) * kSplit, first_ + q_.rows);
    task.Run(q_, kv_head, 0, q_.rows, first_, from, to);
    for (int64_t t = 0; t < q_.rows; ++t) {
      for (int64_t member = 0; member < task.group(); ++member) {
        float* sums = partial(t, kv_head * task.group() + member, split);
        std::memcpy(sums, task.mixed(t, member), static_cast<size_t>(d_) * sizeof(float));
        sums[d_] = task.running(t, member).max;
        sums[d_ + 1] = task.running(t, member).sum;
      }
    }
  }

  void Merge(int64_t t, int64_t head) const {
    const hearth_kernels& kernels = exec_.kernels();
    // A token sees nothing of a split that lies after it, or before its window.
    const auto seen = [&](int64_t split) { return partial(t, head, split)[d_ + 1] > 0; };
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
  const int64_t first_, d_, first_split_, splits_;
  float* partials_ = nullptr;
};

}  // namespace

Status Attention(Exec& exec, const AttentionShape& shape, ConstMatF q, int64_t first, const KvRows& kv, MatF out) {
  if (q.rows <= kAlikeTokens) return FewTokens(exec, shape, q, first, kv, out).Run();
  // Each block goes over all positions before it: the larger the blocks, the less often that is; at least eight of
  // them.
  const int64_t size = std::clamp<int64_t>(q.rows / 64 * 8, kLeastTokens, kMostTokens);
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(TileTask::ScratchFloats(shape, size)));
  const int64_t blocks = (q.rows + size - 1) / size;
  exec.pool().For(blocks * shape.kv_heads, 1, [&](int64_t begin, int64_t end, int thread) {
    TileTask task(exec.kernels(), shape, kv, size, exec.scratch(thread));
    for (int64_t i = begin; i < end; ++i) {
      // Later tokens see more: one from the front, one from the back, so that the threads' shares are alike.
      const int64_t block = i / shape.kv_heads, head = i % shape.kv_heads;
      const int64_t token = (block % 2 == 0 ? block / 2 : blocks - 1 - block / 2) * size;
      const int64_t tokens = std::min(size, q.rows - token);
      task.Run(q, head, token, tokens, first + token, FirstSeen(shape, first + token), first + token + tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t member = 0; member < task.group(); ++member) {
          exec.kernels().scale_f32(task.mixed(t, member), 1.0f / task.running(t, member).sum, nullptr,
                                   out.row(token + t) + (head * task.group() + member) * shape.head_dim,
                                   shape.head_dim);
        }
      }
    }
  });
  return Status();
}

}  // namespace hearth
