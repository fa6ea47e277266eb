#include "addon/model/decoder_workspace.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace hearth {

Status TextDecoder::Workspace::Allocate(const Config& c) {
  hidden_ = c.hidden;
  ple_row_ = c.layers * c.ple_dim;
  const auto reset = [](Buffer& buffer, int64_t columns) {
    return buffer.Reset(static_cast<size_t>(kMaxChunk * columns));
  };
  HEARTH_RETURN_IF_ERROR(reset(streams_, StreamColumns(c)));
  HEARTH_RETURN_IF_ERROR(reset(predictions_, kStreams * c.hidden));
  HEARTH_RETURN_IF_ERROR(reset(ple_, ple_row_));
  for (Buffer* buffer : {&laurel_, &attention_, &residual_}) HEARTH_RETURN_IF_ERROR(reset(*buffer, c.hidden));
  for (Buffer* buffer : {&keys_, &values_}) HEARTH_RETURN_IF_ERROR(reset(*buffer, c.kv_dim()));
  HEARTH_RETURN_IF_ERROR(reset(query_, c.q_dim()));
  HEARTH_RETURN_IF_ERROR(normed_.Reserve(kMaxChunk, c.hidden));
  HEARTH_RETURN_IF_ERROR(attended_.Reserve(kMaxChunk, c.q_dim()));
  return gated_.Reserve(kMaxChunk, c.ple_dim);
}

int64_t TextDecoder::Workspace::StreamColumns(const Config& c) {
  int64_t columns = kStreams * c.hidden;
  for (int i = 0; i < c.layers; ++i) {
    if (std::isfinite(c.sparsity_z[i])) columns = std::max(columns, c.loaded(i));
  }
  return columns;
}

uint64_t TextDecoder::Workspace::Bytes(const Config& c) {
  const int64_t floats =
      StreamColumns(c) + (kStreams + 5) * c.hidden + 3 * c.q_dim() + 2 * c.kv_dim() + (c.layers + 2) * c.ple_dim;
  int64_t widest = 0;  // in 8 bits, with a scale and an offset for every 32
  for (int i = 0; i < c.layers; ++i) widest = std::max(widest, c.loaded(i));
  return static_cast<uint64_t>(kMaxChunk) *
         (static_cast<uint64_t>(floats) * sizeof(float) + static_cast<uint64_t>(widest) * 5 / 4);
}

void TextDecoder::Workspace::KeepLast(int64_t tokens, int64_t keep) {
  const auto shift = [&](float* rows, int64_t columns) {
    std::memmove(rows, rows + (tokens - keep) * columns, static_cast<size_t>(keep * columns) * sizeof(float));
  };
  for (int i = 0; i < kStreams; ++i) {
    shift(stream(i, tokens).data, hidden_);
    shift(prediction(i, tokens).data, hidden_);
  }
  shift(ple_.data(), ple_row_);
  normed_.KeepLast(tokens, keep);
}

}  // namespace hearth
