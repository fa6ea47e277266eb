#include "addon/model/multimodal_embedder.h"

#include <algorithm>

#include "addon/ops/norm.h"

namespace hearth {
namespace {

constexpr float kEps = 1e-6f;

}  // namespace

StatusOr<MultimodalEmbedder> MultimodalEmbedder::Load(const TensorLoader& loader, const std::string& prefix,
                                                      int64_t text_hidden) {
  MultimodalEmbedder e;
  HEARTH_ASSIGN_OR_RETURN(e.projection_, loader.Matrix(prefix + "input_projection.weight", text_hidden, -1));
  HEARTH_ASSIGN_OR_RETURN(e.embedding_, loader.Matrix(prefix + "embedding.weight", -1, e.projection_.cols));
  HEARTH_ASSIGN_OR_RETURN(e.soft_norm_, loader.Vector(prefix + "soft_emb_norm.weight", e.projection_.cols));
  HEARTH_ASSIGN_OR_RETURN(e.hard_norm_, loader.Vector(prefix + "hard_emb_norm.weight", e.projection_.cols));
  return e;
}

Status MultimodalEmbedder::Project(Exec& exec, ConstMatF in, const float* norm, MatF out) const {
  // Beyond kAlikeTokens a row gets the same bits among however many.
  const int64_t tokens = std::max(in.rows, kAlikeTokens + 1);
  Activations normed;
  AlignedBuffer<float> projected;
  HEARTH_RETURN_IF_ERROR(normed.Reserve(tokens, in.cols));
  HEARTH_RETURN_IF_ERROR(projected.Reset(static_cast<size_t>(tokens * out.cols)));
  for (int64_t r = 0; r < in.rows; ++r) {
    RmsNormRow(exec.kernels(), in.row(r), norm, kEps, in.cols, normed.row(r));
    normed.Quantise(exec.kernels(), r);
  }
  const MatF rows(projected.data(), tokens, out.cols);
  HEARTH_RETURN_IF_ERROR(MatMul(exec, tokens, {{projection_, normed, rows}}));
  RmsNorm(exec.kernels(), rows.Rows(0, in.rows), nullptr, kEps, out);
  return Status();
}

Status MultimodalEmbedder::EmbedSoft(Exec& exec, ConstMatF in, MatF out) const {
  if (in.cols != hidden() || out.cols != text_hidden() || in.rows != out.rows) {
    return Error(Code::INTERNAL, "soft tokens [%lld, %lld] to [%lld, %lld], with a projection from %lld to %lld",
                 static_cast<long long>(in.rows), static_cast<long long>(in.cols), static_cast<long long>(out.rows),
                 static_cast<long long>(out.cols), static_cast<long long>(hidden()),
                 static_cast<long long>(text_hidden()));
  }
  return Project(exec, in, soft_norm_.data(), out);
}

Status MultimodalEmbedder::EmbedHard(Exec& exec, int64_t index, float* out) const {
  if (index < 0 || index >= vocab_size()) {
    return Error(Code::TOKEN_INVALID, "multimodal token %lld; there are %lld", static_cast<long long>(index),
                 static_cast<long long>(vocab_size()));
  }
  AlignedBuffer<float> row;
  HEARTH_RETURN_IF_ERROR(row.Reset(static_cast<size_t>(hidden())));
  DequantizeRow(exec.kernels(), embedding_, index, row.data());
  return Project(exec, MatF(row.data(), 1, hidden()), hard_norm_.data(), MatF(out, 1, text_hidden()));
}

}  // namespace hearth
