// TextDecoder's feed-forward: normed -> attention = down(GELU(gate) * up), over the slice's neurons. Where the model is
// trained to be sparse (Gaussian top-k, HF `_gaussian_topk`), the gate of a neuron below mean + z * std of its row is
// zero; about 5 % are left, and only their rows of up and columns of down are read.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "addon/model/decoder_steps.h"
#include "addon/model/decoder_workspace.h"
#include "addon/ops/kernel_lookup.h"
#include "addon/ops/matmul.h"
#include "addon/ops/vector_math.h"

namespace hearth {
namespace {

// Neurons taken together: a block of the activations' 8-bit form, and of the columns' scales.
constexpr int64_t kBlock = 32;

// What a row's gates are cut off at.
float CutOff(const float* gate, int64_t width, float z) {
  float mean, deviation;
  MeanAndDeviation(gate, width, &mean, &deviation);
  return mean + z * deviation;
}

// The tokens for which each neuron of a block is on, read off a [tokens, width] matrix that is zero elsewhere.
struct LiveTokens {
  int64_t count[kBlock];
  int32_t tokens[kBlock][TextDecoder::kMaxChunk];
  float values[kBlock][TextDecoder::kMaxChunk];

  void Collect(ConstMatF m, int64_t neuron) {
    std::fill(count, count + kBlock, 0);
    for (int64_t t = 0; t < m.rows; ++t) {
      const float* row = m.row(t) + neuron;
      // Two at a time, as one word: nine pairs of ten are zero.
      for (int64_t n = 0; n < kBlock; n += 2) {
        uint64_t pair;
        std::memcpy(&pair, row + n, sizeof pair);
        if (pair == 0) continue;
        Add(n, t, row[n]);
        Add(n + 1, t, row[n + 1]);
      }
    }
  }

 private:
  void Add(int64_t n, int64_t t, float value) {
    tokens[n][count[n]] = static_cast<int32_t>(t);
    values[n][count[n]] = value;
    count[n] += value != 0.0f;
  }
};

// How many live neurons ahead of the one in hand are fetched: what one core can wait for at a time, about 4 KB.
constexpr int64_t kAhead = 4;

inline void Prefetch(const uint8_t* data, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(data + i);
}

}  // namespace

Status TextDecoder::FeedForward(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  if (!pass.weights.ffn_down_columns.empty()) return SparseNeurons(exec, pass, ws);
  HEARTH_RETURN_IF_ERROR(DenseNeurons(exec, pass, ws));
  return MatMul(exec, pass.keep,
                {{pass.weights.ffn_down, ws.hidden_neurons_, MatF(ws.attention_.data(), pass.keep, config_.hidden),
                  pass.slice.ffn_width[pass.index]}});
}

// normed -> hidden_neurons, in the form that down wants.
Status TextDecoder::DenseNeurons(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();
  const int64_t width = pass.slice.ffn_width[pass.index], tokens = pass.keep, h = config_.hidden;
  const float z = config_.sparsity_z[pass.index];
  const bool floats = w.ffn_down.panels == nullptr;
  HEARTH_RETURN_IF_ERROR(ws.hidden_neurons_.Reserve(kMaxChunk, width, floats));
  HEARTH_RETURN_IF_ERROR(ReserveRows(exec, w.ffn_gate));
  HEARTH_RETURN_IF_ERROR(ReserveRows(exec, w.ffn_up));
  if (std::isfinite(z)) {
    // The cut-off needs the whole row first.
    HEARTH_RETURN_IF_ERROR(ws.up_.Reserve(static_cast<size_t>(kMaxChunk * width)));
    const MatF gate = ws.gate(tokens, width), up(ws.up_.data(), tokens, width);
    HEARTH_RETURN_IF_ERROR(MatMul(
        exec, tokens, {{w.ffn_gate.Rows(0, width), ws.normed_, gate}, {w.ffn_up.Rows(0, width), ws.normed_, up}}));
    ForRows(exec, tokens, [&](int64_t t, int) {
      float* g = gate.row(t);
      const float cutoff = CutOff(g, width, z);
      for (int64_t i = 0; i < width; ++i) g[i] = std::max(g[i] - cutoff, 0.0f);
      GeluTanhMulRow(g, up.row(t), width);
      if (floats) std::copy(g, g + width, ws.hidden_neurons_.row(t));
      ws.hidden_neurons_.Quantise(kernels, t, 0, width, g);
    });
    return Status();
  }
  // A block of neurons for every token: its gates and ups meet while they are in the cache, and leave as 8 bits.
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(2 * tokens * kBlock), Exec::kOuter));
  exec.pool().For(width / kBlock, 1, [&](int64_t begin, int64_t end, int thread) {
    float* gate = exec.scratch(thread, Exec::kOuter);
    float* up = gate + tokens * kBlock;
    for (int64_t n = begin * kBlock; n < end * kBlock; n += kBlock) {
      MultiplyRows(exec, thread, w.ffn_gate, n, n + kBlock, h, ws.normed_, tokens, gate, kBlock);
      MultiplyRows(exec, thread, w.ffn_up, n, n + kBlock, h, ws.normed_, tokens, up, kBlock);
      GeluTanhMulRow(gate, up, tokens * kBlock);
      for (int64_t t = 0; t < tokens; ++t) {
        if (floats) std::copy(gate + t * kBlock, gate + (t + 1) * kBlock, ws.hidden_neurons_.row(t) + n);
        ws.hidden_neurons_.Quantise(kernels, t, n, kBlock, gate + t * kBlock);
      }
    }
  });
  return Status();
}

// normed -> attention, without the neurons that are off.
Status TextDecoder::SparseNeurons(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();
  const int64_t width = pass.slice.ffn_width[pass.index], tokens = pass.keep, h = config_.hidden;
  const MatF gate = ws.gate(tokens, width);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{w.ffn_gate.Rows(0, width), ws.normed_, gate}}));
  ForRows(exec, tokens, [&](int64_t t, int) {
    float* g = gate.row(t);
    const float cutoff = CutOff(g, width, config_.sparsity_z[pass.index]);
    for (int64_t i = 0; i < width; ++i) g[i] = std::max(g[i] - cutoff, 0.0f);
  });

  if (tokens == 1) return SparseToken(exec, pass, ws);

  // gate becomes the hidden value, GELU(gate) * up, where a neuron is on.
  const hearth_row_fn dot = RowOf(kernels, w.ffn_up.type);
  const size_t live_floats = sizeof(LiveTokens) / sizeof(float);
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(live_floats, Exec::kOuter));
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(std::max<int64_t>(kMaxChunk, h))));
  const hearth_q8_rows x = ws.normed_.q8();
  exec.pool().For(width / kBlock, 1, [&](int64_t begin, int64_t end, int thread) {
    LiveTokens& live = *reinterpret_cast<LiveTokens*>(exec.scratch(thread, Exec::kOuter));
    float* up = exec.scratch(thread);
    for (int64_t first = begin * kBlock; first < end * kBlock; first += kBlock) {
      live.Collect(gate, first);
      for (int64_t n = 0; n < kBlock; ++n) {
        if (live.count[n] == 0) continue;
        dot(w.ffn_up.row(first + n), h, &x, live.tokens[n], live.count[n], up);
        GeluTanhMulRow(live.values[n], up, live.count[n]);
        for (int64_t i = 0; i < live.count[n]; ++i) gate.row(live.tokens[n][i])[first + n] = live.values[n][i];
      }
    }
  });

  const ColumnWeight& down = w.ffn_down_columns;
  const hearth_column_fn column = ColumnOf(kernels, down.type);
  // Every range looks for the live ones anew: it must be worth that.
  exec.pool().For(h, 8 * kBlock, [&](int64_t begin, int64_t end, int thread) {
    LiveTokens& live = *reinterpret_cast<LiveTokens*>(exec.scratch(thread, Exec::kOuter));
    float* values = exec.scratch(thread);
    for (int64_t t = 0; t < tokens; ++t)
      std::fill(ws.attention_.data() + t * h + begin, ws.attention_.data() + t * h + end, 0.0f);
    for (int64_t first = 0; first < width; first += kBlock) {
      live.Collect(gate, first);
      const uint16_t* scales = down.scales + first / kBlock * h + begin;
      for (int64_t n = 0; n < kBlock; ++n) {
        if (live.count[n] == 0) continue;
        column(down.neuron(first + n) + down.CodeBytes(begin), scales, end - begin, values);
        for (int64_t i = 0; i < live.count[n]; ++i) {
          kernels.axpy_f32(live.values[n][i], values, ws.attention_.data() + live.tokens[n][i] * h + begin,
                           end - begin);
        }
      }
    }
  });
  return Status();
}

// The rest of SparseNeurons for a single token: a list of what is on, each thread fetching the entries to come as it
// computes the one in hand (rows in no order are nothing a processor foresees).
Status TextDecoder::SparseToken(Exec& exec, const LayerPass& pass, Workspace& ws) const {
  const LayerWeights& w = pass.weights;
  const hearth_kernels& kernels = exec.kernels();
  const int64_t width = pass.slice.ffn_width[pass.index], h = config_.hidden;
  HEARTH_RETURN_IF_ERROR(ws.live_.Reserve(static_cast<size_t>(width)));
  HEARTH_RETURN_IF_ERROR(ws.up_.Reserve(static_cast<size_t>(width)));
  HEARTH_RETURN_IF_ERROR(exec.ReserveScratch(static_cast<size_t>(h)));
  const float* gate = ws.gate(1, width).row(0);
  float* hidden = ws.up_.data();  // of the neurons in the list
  int32_t* live = ws.live_.data();
  int64_t count = 0;
  for (int64_t n = 0; n < width; n += 2) {
    uint64_t pair;
    std::memcpy(&pair, gate + n, sizeof pair);
    if (pair == 0) continue;
    live[count] = static_cast<int32_t>(n);
    count += gate[n] != 0.0f;
    live[count] = static_cast<int32_t>(n + 1);
    count += gate[n + 1] != 0.0f;
  }

  const hearth_row_fn dot = RowOf(kernels, w.ffn_up.type);
  const hearth_q8_rows x = ws.normed_.q8();
  exec.pool().For(count, 8, [&](int64_t begin, int64_t end, int) {
    const int32_t first_token = 0;
    for (int64_t i = begin + 1; i < std::min(begin + kAhead, end); ++i)
      Prefetch(w.ffn_up.row(live[i]), w.ffn_up.row_bytes);
    for (int64_t i = begin; i < end; ++i) {
      if (i + kAhead < end) Prefetch(w.ffn_up.row(live[i + kAhead]), w.ffn_up.row_bytes);
      float up;
      dot(w.ffn_up.row(live[i]), h, &x, &first_token, 1, &up);
      hidden[i] = gate[live[i]];
      GeluTanhMulRow(hidden + i, &up, 1);
    }
  });

  const ColumnWeight& down = w.ffn_down_columns;
  const hearth_column_fn column = ColumnOf(kernels, down.type);
  // Fewer outputs at a time, and a neuron's codes are pieces too short for the memory.
  exec.pool().For(h, 16 * kBlock, [&](int64_t begin, int64_t end, int thread) {
    float* values = exec.scratch(thread);
    float* out = ws.attention_.data();
    std::fill(out + begin, out + end, 0.0f);
    for (int64_t i = 0; i < count; ++i) {
      if (i + kAhead < count) {
        const int64_t next = live[i + kAhead], block = next / kBlock;
        Prefetch(down.neuron(next) + down.CodeBytes(begin), down.CodeBytes(end - begin));
        // Neurons of a block share their scales.
        if (block != live[i + kAhead - 1] / kBlock)
          Prefetch(reinterpret_cast<const uint8_t*>(down.scales + block * h + begin), 2 * (end - begin));
      }
      column(down.neuron(live[i]) + down.CodeBytes(begin), down.scales + live[i] / kBlock * h + begin, end - begin,
             values);
      kernels.axpy_f32(hidden[i], values, out + begin, end - begin);
    }
  });
  return Status();
}

}  // namespace hearth
