#include "addon/model/vision_blocks.h"

#include <algorithm>
#include <utility>

#include "addon/ops/multi_query_attention.h"
#include "addon/ops/norm.h"
#include "addon/ops/panels.h"

namespace hearth {
namespace {

constexpr int64_t kKvStride = 2;

class MobileAttention : public VisionBlock {
 public:
  static StatusOr<std::unique_ptr<VisionBlock>> Load(VisionTensors& tensors, const std::string& prefix,
                                                     int64_t in_channels, int64_t stride) {
    if (stride != 1) {
      return Error(Code::MODEL_UNSUPPORTED, "block %s opens a stage, which halves the resolution; attention cannot",
                   prefix.c_str());
    }
    std::unique_ptr<MobileAttention> b(new MobileAttention(stride));
    HEARTH_ASSIGN_OR_RETURN(b->norm_, tensors.Vector(prefix + "norm.weight", in_channels));
    HEARTH_ASSIGN_OR_RETURN(b->query_, tensors.Pointwise(prefix + "attn.query.proj.weight", -1, in_channels));
    const bool down = tensors.Has(prefix + "attn.key.down_conv.weight");
    HEARTH_RETURN_IF_ERROR(b->key_.Load(tensors, prefix + "attn.key.", in_channels, down));
    HEARTH_RETURN_IF_ERROR(b->value_.Load(tensors, prefix + "attn.value.", in_channels, down));
    const int64_t key_dim = b->key_.project.rows;
    if (b->query_.rows % key_dim != 0) {
      return Error(Code::MODEL_MISMATCH,
                   "tensor %sattn.query.proj.weight has %lld rows; a multiple of the key's %lld is expected",
                   prefix.c_str(), static_cast<long long>(b->query_.rows), static_cast<long long>(key_dim));
    }
    b->heads_ = b->query_.rows / key_dim;
    HEARTH_ASSIGN_OR_RETURN(
        b->output_, tensors.Pointwise(prefix + "attn.output.proj.weight", -1, b->heads_ * b->value_.project.rows));
    HEARTH_RETURN_IF_ERROR(LoadLayerScale(tensors, prefix, b->output_.rows, &b->scale_));
    b->skip_ = b->output_.rows == in_channels;
    return std::unique_ptr<VisionBlock>(std::move(b));
  }

  int64_t out_channels() const override { return output_.rows; }

  void AddMatrices(std::vector<Weight*>* matrices) override {
    // Heads are cut into blocks, too, and so are the positions.
    const bool blocks = key_.project.rows % 32 == 0 && value_.project.rows % 32 == 0;
    if (blocks && PanelShape(query_) && PanelShape(key_.project) && PanelShape(value_.project) && PanelShape(output_))
      matrices->insert(matrices->end(), {&query_, &key_.project, &value_.project, &output_});
  }

  bool in_panels() const override { return query_.panels != nullptr; }

  Status Run(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const override {
    if (in_panels()) return RunPanels(exec, scratch, in, out);
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap x, Normed(exec, scratch, in));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap query, MakeMap(scratch.wide, in.height, in.width, query_.rows));
    HEARTH_RETURN_IF_ERROR(PointwiseConv(exec, query_, x.pixels(), PixelOps{}, query.pixels()));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap key, key_.Run(exec, scratch.down, scratch.key, x));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap value, value_.Run(exec, scratch.down, scratch.value, x));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap mixed, MakeMap(scratch.mid, in.height, in.width, heads_ * value.channels));
    // A pixel's heads lie one after the other: seen as rows of one head each, they all meet the same keys.
    const int64_t queries = in.pixel_count() * heads_;
    HEARTH_RETURN_IF_ERROR(MultiQueryAttention(exec, MatF(query.data, queries, key.channels), key.pixels(),
                                               value.pixels(), MatF(mixed.data, queries, value.channels)));
    const PixelOps after_output{.scale = scale_.data(), .skip = skip_ ? in.data : nullptr};
    return PointwiseConv(exec, output_, mixed.pixels(), after_output, out.pixels());
  }

 private:
  using VisionBlock::VisionBlock;

  // The way of the keys or the values.
  struct Branch {
    DepthwiseWeight down;            // may be empty; [k, k, in]
    AlignedBuffer<float> down_norm;  // [in]
    Weight project;                  // [key_dim or value_dim, in]

    Status Load(VisionTensors& tensors, const std::string& prefix, int64_t in_channels, bool has_down) {
      if (has_down) {
        HEARTH_ASSIGN_OR_RETURN(down, tensors.Depthwise(prefix + "down_conv.weight", in_channels));
        HEARTH_ASSIGN_OR_RETURN(down_norm, tensors.Vector(prefix + "norm.weight", in_channels));
      }
      HEARTH_ASSIGN_OR_RETURN(project, tensors.Pointwise(prefix + "proj.weight", -1, in_channels));
      return Status();
    }

    StatusOr<FeatureMap> Run(Exec& exec, AlignedBuffer<float>& down_buffer, AlignedBuffer<float>& out_buffer,
                             FeatureMap x) const {
      if (!down.empty()) {
        HEARTH_ASSIGN_OR_RETURN(const FeatureMap small, MakeMap(down_buffer, SameOutputSize(x.height, kKvStride),
                                                                SameOutputSize(x.width, kKvStride), x.channels));
        DepthwiseConv(exec, down, kKvStride, x, PixelOps{.norm = down_norm.data()}, small);
        x = small;
      }
      HEARTH_ASSIGN_OR_RETURN(const FeatureMap out, MakeMap(out_buffer, x.height, x.width, project.rows));
      HEARTH_RETURN_IF_ERROR(PointwiseConv(exec, project, x.pixels(), PixelOps{}, out.pixels()));
      return out;
    }

    // In 8 bits. x: the block's input, with its norm applied.
    StatusOr<FeatureMap> RunPanels(Exec& exec, PixelTiles& tiles, AlignedBuffer<float>& out_buffer,
                                   FeatureMap x) const {
      const hearth_kernels& kernels = exec.kernels();
      const int64_t stride = down.empty() ? 1 : kKvStride;
      HEARTH_ASSIGN_OR_RETURN(const FeatureMap out, MakeMap(out_buffer, SameOutputSize(x.height, stride),
                                                            SameOutputSize(x.width, stride), project.rows));
      const PixelStep steps[] = {{project, {}}};
      HEARTH_RETURN_IF_ERROR(
          tiles.Run(exec, steps, out.pixels(), x.channels,
                    [&](int64_t first, int64_t count, PixelTiles::Thread& thread, Activations& rows) {
                      for (int64_t i = 0; i < count; ++i) {
                        const float* from = x.pixels().row(first + i);
                        if (!down.empty()) {
                          float* pixel = thread.pixel.data();
                          DepthwisePixel(kernels, down, stride, {x, 0, x.height}, (first + i) / out.width,
                                         (first + i) % out.width, pixel);
                          RmsNormRow(kernels, pixel, down_norm.data(), kVisionEps, x.channels, pixel);
                          from = pixel;
                        }
                        rows.Quantise(kernels, i, 0, x.channels, from);
                      }
                    }));
      return out;
    }
  };

  Status RunPanels(Exec& exec, VisionScratch& scratch, FeatureMap in, FeatureMap out) const {
    const hearth_kernels& kernels = exec.kernels();
    PixelTiles& tiles = scratch.tiles;
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap x, Normed(exec, scratch, in));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap key, key_.RunPanels(exec, tiles, scratch.key, x));
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap value, value_.RunPanels(exec, tiles, scratch.value, x));
    PanelAttention& attention = scratch.attention;
    HEARTH_RETURN_IF_ERROR(attention.Prepare(exec, key.pixels(), value.pixels()));

    const PixelStep steps[] = {{query_, {}}, {output_, {.scale = scale_.data(), .skip = skip_ ? in.data : nullptr}}};
    const int64_t pixels = in.pixel_count(), query_floats = query_.rows, mixed_floats = output_.cols;
    const int64_t tile = PixelTiles::TilePixels(exec, pixels, query_floats + mixed_floats);
    HEARTH_RETURN_IF_ERROR(tiles.Reserve(exec, steps, tile, query_floats + mixed_floats, 0));
    HEARTH_RETURN_IF_ERROR(attention.Reserve(exec, tiles));
    exec.pool().For((pixels + tile - 1) / tile, 1, [&](int64_t begin, int64_t end, int index) {
      PixelTiles::Thread& thread = tiles.thread(index);
      for (int64_t first = begin * tile; first < std::min(end * tile, pixels); first += tile) {
        const int64_t count = std::min(tile, pixels - first);
        for (int64_t i = 0; i < count; ++i) thread.in[0].Quantise(kernels, i, 0, x.channels, x.pixels().row(first + i));
        float* queries = thread.rows.data();
        float* mixed = queries + count * query_floats;
        MultiplyPanels(kernels, query_, 0, query_.rows / HEARTH_PANEL_ROWS, query_.cols, thread.in[0].q8(), count,
                       queries, query_floats);
        // A pixel's heads lie one after the other: seen as rows of one head each, they all meet the same keys.
        attention.Run(kernels, thread, MatF(queries, count * heads_, key.channels),
                      MatF(mixed, count * heads_, value.channels));
        for (int64_t i = 0; i < count; ++i)
          thread.in[1].Quantise(kernels, i, 0, mixed_floats, mixed + i * mixed_floats);
        PixelTiles::RunSteps(exec, steps, 1, thread, first, count, out.pixels());
      }
    });
    return Status();
  }

  StatusOr<FeatureMap> Normed(Exec& exec, VisionScratch& scratch, FeatureMap in) const {
    HEARTH_ASSIGN_OR_RETURN(const FeatureMap x, MakeMap(scratch.narrow, in.height, in.width, in.channels));
    exec.pool().For(in.pixel_count(), 16, [&](int64_t begin, int64_t end, int) {
      RmsNorm(exec.kernels(), in.pixels().Rows(begin, end - begin), norm_.data(), kVisionEps,
              x.pixels().Rows(begin, end - begin));
    });
    return x;
  }

  AlignedBuffer<float> norm_;  // [in]
  Weight query_;               // [heads * key_dim, in]
  Branch key_, value_;
  Weight output_;               // [out, heads * value_dim]
  AlignedBuffer<float> scale_;  // may be empty; [out]
  int64_t heads_ = 0;
  bool skip_ = false;
};

}  // namespace

StatusOr<std::unique_ptr<VisionBlock>> LoadMobileAttention(VisionTensors& tensors, const std::string& prefix,
                                                           int64_t in_channels, int64_t stride) {
  return MobileAttention::Load(tensors, prefix, in_channels, stride);
}

}  // namespace hearth
