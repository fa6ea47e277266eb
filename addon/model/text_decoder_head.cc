// TextDecoder's end: four streams become one row, the tied head turns it into logits.
#include <cmath>
#include <cstring>

#include "addon/model/decoder_steps.h"
#include "addon/model/decoder_workspace.h"
#include "addon/ops/matmul.h"
#include "addon/ops/norm.h"

namespace hearth {

Status TextDecoder::Logits(Exec& exec, int64_t tokens, Workspace& ws, MatF logits, Activations* rows) const {
  const Config& c = config_;
  const int64_t h = c.hidden;
  const hearth_kernels& kernels = exec.kernels();
  const MatF first = ws.stream(0, tokens);
  const MatF mean(ws.residual_.data(), tokens, h), projected(ws.attention_.data(), tokens, h);
  ForRows(exec, tokens,
          [&](int64_t t, int) { std::memcpy(mean.row(t), first.row(t), static_cast<size_t>(h) * sizeof(float)); });
  for (int i = 1; i < kStreams; ++i) {
    ForRows(exec, tokens, [&](int64_t t, int) {
      std::memcpy(ws.normed_.row(t), ws.stream(i, tokens).row(t), static_cast<size_t>(h) * sizeof(float));
      ws.normed_.Quantise(kernels, t);
    });
    HEARTH_RETURN_IF_ERROR(
        MatMul(exec, tokens, {{weights_.altup_unembd_proj.Rows((i - 1) * h, h), ws.normed_, projected}}));
    ForRows(exec, tokens, [&](int64_t t, int) {
      RescaleRow(kernels, kernels.sum_squares_f32(first.row(t), h) / static_cast<float>(h), h, projected.row(t));
      kernels.axpy_f32(1.0f, projected.row(t), mean.row(t), h);
    });
  }
  ForRows(exec, tokens, [&](int64_t t, int) {
    kernels.scale_f32(mean.row(t), 1.0f / kStreams, nullptr, mean.row(t), h);
    RmsNormRow(kernels, mean.row(t), weights_.output_norm.data(), c.norm_eps, h, ws.normed_.row(t));
    ws.normed_.Quantise(kernels, t);
  });
  if (rows == nullptr) return head_.Score(exec, ws.normed_, tokens, logits);
  HEARTH_RETURN_IF_ERROR(rows->Reserve(tokens, h, false));
  rows->CopyQ8(ws.normed_, tokens);
  return head_.Score(exec, ws.normed_, tokens, logits);
}

}  // namespace hearth
