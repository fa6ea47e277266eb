#include "addon/model/vision_tensors.h"

namespace hearth {
namespace {

constexpr int64_t kMaxKernel = 7;
// Twice the widest layer of the released encoder (3840); bounds the memory a lying file can ask for.
constexpr int64_t kMaxChannels = 8192;

Status CheckChannels(const std::string& name, int64_t channels) {
  if (channels <= kMaxChannels) return Status();
  return Error(Code::MODEL_UNSUPPORTED, "tensor %s has %lld channels; at most %lld", name.c_str(),
               static_cast<long long>(channels), static_cast<long long>(kMaxChannels));
}

}  // namespace

StatusOr<AlignedBuffer<float>> VisionTensors::Vector(const std::string& name, int64_t n) {
  taken_.insert(name);
  return loader_.Vector(name, n);
}

StatusOr<Weight> VisionTensors::Pointwise(const std::string& name, int64_t out, int64_t in) {
  taken_.insert(name);
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* tensor, loader_.file().Require(name));
  Weight weight;
  if (tensor->rank == 4 && tensor->dims[0] == 1 && tensor->dims[1] == 1) {
    HEARTH_ASSIGN_OR_RETURN(weight, loader_.Matrix(name, -1, 1));
    weight.row_bytes *= tensor->dims[2];  // a value a "row" so far: only types without blocks can be stored so
    weight.cols = tensor->dims[2];
    weight.rows = tensor->dims[3];
  } else {
    HEARTH_ASSIGN_OR_RETURN(weight, loader_.Matrix(name, -1, -1));
  }
  if ((out >= 0 && weight.rows != out) || (in >= 0 && weight.cols != in)) {
    return Error(Code::MODEL_MISMATCH, "tensor %s should be [%lld, %lld] (-1: any) but is [%lld, %lld]", name.c_str(),
                 static_cast<long long>(out), static_cast<long long>(in), static_cast<long long>(weight.rows),
                 static_cast<long long>(weight.cols));
  }
  HEARTH_RETURN_IF_ERROR(CheckChannels(name, weight.rows));
  HEARTH_RETURN_IF_ERROR(CheckChannels(name, weight.cols));
  return weight;
}

StatusOr<AlignedBuffer<float>> VisionTensors::ConvValues(const std::string& name, int64_t out, int64_t in,
                                                         int64_t* kernel) {
  taken_.insert(name);
  HEARTH_ASSIGN_OR_RETURN(const GgufTensor* tensor, loader_.file().Require(name));
  const auto& dims = tensor->dims;  // [k, k, in, out]
  if (dims[0] != dims[1] || dims[0] > kMaxKernel || dims[0] % 2 == 0 || dims[2] != in || (out >= 0 && dims[3] != out)) {
    return Error(
        Code::MODEL_MISMATCH,
        "tensor %s should be [%lld, %lld, k, k] (-1: any; k odd, at most %lld) but is [%lld, %lld, %lld, %lld]",
        name.c_str(), static_cast<long long>(out), static_cast<long long>(in), static_cast<long long>(kMaxKernel),
        static_cast<long long>(dims[3]), static_cast<long long>(dims[2]), static_cast<long long>(dims[1]),
        static_cast<long long>(dims[0]));
  }
  HEARTH_RETURN_IF_ERROR(CheckChannels(name, dims[3]));
  *kernel = dims[0];
  return loader_.Vector(name, -1);
}

StatusOr<ConvWeight> VisionTensors::Conv(const std::string& name, int64_t out, int64_t in) {
  ConvWeight w;
  HEARTH_ASSIGN_OR_RETURN(const AlignedBuffer<float> values, ConvValues(name, out, in, &w.kernel));
  const int64_t taps = w.kernel * w.kernel;
  w.in = in;
  w.out = static_cast<int64_t>(values.size()) / (taps * in);
  HEARTH_RETURN_IF_ERROR(w.values.Reset(values.size()));
  for (int64_t o = 0; o < w.out; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t i = 0; i < in; ++i) {
        w.values[static_cast<size_t>((o * taps + t) * in + i)] = values[static_cast<size_t>((o * in + i) * taps + t)];
      }
    }
  }
  return w;
}

StatusOr<DepthwiseWeight> VisionTensors::Depthwise(const std::string& name, int64_t channels) {
  DepthwiseWeight w;
  HEARTH_ASSIGN_OR_RETURN(const AlignedBuffer<float> values, ConvValues(name, channels, 1, &w.kernel));
  w.channels = channels;
  const int64_t taps = w.kernel * w.kernel;
  HEARTH_RETURN_IF_ERROR(w.values.Reset(values.size()));
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) {
      w.values[static_cast<size_t>(t * channels + c)] = values[static_cast<size_t>(c * taps + t)];
    }
  }
  return w;
}

Status VisionTensors::CheckAllTaken() const {
  for (const GgufTensor& tensor : loader_.file().tensors()) {
    if (tensor.name.compare(0, 2, "v.") != 0 || taken_.count(tensor.name) != 0) continue;
    return Error(Code::MODEL_UNSUPPORTED,
                 "tensor %s has no place in the vision encoder: a block before it is missing, or of an unknown kind",
                 tensor.name.c_str());
  }
  return Status();
}

}  // namespace hearth
