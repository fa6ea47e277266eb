// MatFormer slices: one file runs as any of its nested sizes. A slice is a prefix of every FFN's neurons (rows of gate
// and up, columns of down) and a set of layers left out; only layers that share a KV cache may be, so nothing of the
// cache changes when they go. Named slices are those of google/gemma-3n's slicing configurations, and for each of them
// its "-tail": the same below the layers that share a cache, the smallest published slice from there on.
#ifndef HEARTH_MODEL_SLICE_H_
#define HEARTH_MODEL_SLICE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "addon/base/status.h"
#include "addon/model/config.h"

namespace hearth {

struct Slice {
  std::string name;                // "full", a name of the table, or "custom"
  std::vector<int64_t> ffn_width;  // per layer of the file
  std::vector<bool> skipped;       // per layer of the file

  // The whole file.
  static Slice Full(const Config& config);
  // What was loaded of it: the whole file, or the slice of LoadOnly.
  static Slice Loaded(const Config& config);
  // A name from NamedSlices; SLICE_INVALID lists what there is, or says what was loaded.
  static StatusOr<Slice> Named(const Config& config, std::string_view name);
  // Explicit widths (one a layer of the file) and skipped layers, checked.
  static StatusOr<Slice> Custom(const Config& config, const std::vector<int64_t>& widths,
                                const std::vector<int>& skipped);

  // True when both leave the same K and V behind: they agree in every layer that writes them.
  bool SameKv(const Slice& other, const Config& config) const;
  // FFN widths may be any multiple of this (a block of 8-bit activations) and of the down projection's own block.
  static constexpr int64_t kWidthMultiple = 32;
};

// The names that fit this model: "full", "half" and "full-tail" always, the published ones when it has E4B's shape, and
// the tails that are slices of their own ("e2b-tail" is e2b itself: taken, not listed); none that would cut a block,
// and none that needs more than what is loaded.
std::vector<std::string> NamedSlices(const Config& config);

// From now on only what the slice of this name needs is the model's: weights beyond it are not to be loaded, and slices
// that need them are SLICE_INVALID. The published slices are not nested in one another layer by layer (e2.98b is full
// where e3.79b is, and half where e2.69b is full), so what a slice needs decides, not its size.
Status LoadOnly(Config& config, std::string_view name);

// What a token takes, in multiply-adds: every matrix product of attention, FFN, per-layer embeddings, AltUp's ends and
// the head. Attention over the context, LAuReL and AltUp's small matrices (1 % together at no context) are left out,
// and so is what sparsity saves. For comparing slices of one file, not for predicting seconds.
struct SliceCost {
  uint64_t decode;   // with the logits
  uint64_t prefill;  // what writes K and V only, see the prefill skip in text_decoder.h
};
SliceCost CostOf(const Config& config, const Slice& slice);

// Whether the family was trained at it: the whole file, the published slices, and their tails, whose layers are those
// of two published ones.
bool IsPublished(const Config& config, std::string_view name);

}  // namespace hearth

#endif  // HEARTH_MODEL_SLICE_H_
