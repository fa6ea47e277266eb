#include "addon/model/multimodal_embedder.h"

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

Status MultimodalEmbedder::Project(Exec& exec, ConstMatF in, MatF out) const {
  HEARTH_RETURN_IF_ERROR(MatMul(exec, projection_, in, out));
  RmsNorm(exec.kernels(), out, nullptr, kEps, out);
  return Status();
}

Status MultimodalEmbedder::EmbedSoft(Exec& exec, ConstMatF in, MatF out) const {
  if (in.cols != hidden() || out.cols != text_hidden() || in.rows != out.rows) {
    return Error(Code::INTERNAL, "soft tokens [%lld, %lld] to [%lld, %lld], with a projection from %lld to %lld",
                 static_cast<long long>(in.rows), static_cast<long long>(in.cols), static_cast<long long>(out.rows),
                 static_cast<long long>(out.cols), static_cast<long long>(hidden()),
                 static_cast<long long>(text_hidden()));
  }
  AlignedBuffer<float> normed;
  HEARTH_RETURN_IF_ERROR(normed.Reset(static_cast<size_t>(in.rows * in.cols)));
  const MatF x(normed.data(), in.rows, in.cols);
  RmsNorm(exec.kernels(), in, soft_norm_.data(), kEps, x);
  return Project(exec, x, out);
}

Status MultimodalEmbedder::EmbedHard(Exec& exec, int64_t index, float* out) const {
  if (index < 0 || index >= vocab_size()) {
    return Error(Code::TOKEN_INVALID, "multimodal token %lld; there are %lld", static_cast<long long>(index),
                 static_cast<long long>(vocab_size()));
  }
  AlignedBuffer<float> row;
  HEARTH_RETURN_IF_ERROR(row.Reset(static_cast<size_t>(hidden())));
  DequantizeRow(exec.kernels(), embedding_, index, row.data());
  RmsNormRow(exec.kernels(), row.data(), hard_norm_.data(), kEps, hidden(), row.data());
  return Project(exec, MatF(row.data(), 1, hidden()), MatF(out, 1, text_hidden()));
}

}  // namespace hearth
