#include "addon/model/slice.h"

#include <algorithm>

namespace hearth {
namespace {

constexpr std::string_view kTail = "-tail";
constexpr int kE4bLayers = 35;
constexpr int kE4bKvLayers = 20;

struct Range {
  int first, last;
};

// Layers of full width (inclusive ranges; the others have half), and whether layers 20 to 24 are left out.
struct Recipe {
  const char* name;
  Range full[5];
  int full_ranges;
  bool skips;
};

constexpr Recipe kRecipes[] = {
    {"e4b", {{0, 34}}, 1, false},
    {"e3.79b", {{4, 34}}, 1, false},
    {"e3.59b", {{4, 29}, {34, 34}}, 2, false},
    {"e3.39b", {{4, 4}, {9, 29}, {34, 34}}, 3, false},
    {"e3.18b", {{4, 4}, {9, 24}, {29, 29}, {34, 34}}, 4, false},
    {"e2.98b", {{15, 24}, {30, 34}}, 2, false},
    {"e2.69b", {{4, 4}, {9, 9}, {14, 14}, {19, 24}}, 4, false},
    {"e2.54b", {{4, 4}, {20, 24}}, 2, false},
    {"e1.96b", {{4, 4}}, 1, true},
    {"e2b", {}, 0, true},
};

bool HasE4bShape(const Config& c) { return c.layers == kE4bLayers && c.kv_layers == kE4bKvLayers; }

bool EndsWithTail(std::string_view name) { return name.size() > kTail.size() && name.ends_with(kTail); }

// The widths and layers of a name without "-tail"; false when there is none of that name.
bool FromTable(const Config& c, std::string_view name, std::vector<int64_t>& widths, std::vector<int>& skipped) {
  widths = c.ffn_width;
  skipped.clear();
  if (name == "full") return true;
  if (name == "half") {
    for (int64_t& width : widths) width /= 2;
    return true;
  }
  if (!HasE4bShape(c)) return false;
  const auto* recipe =
      std::find_if(std::begin(kRecipes), std::end(kRecipes), [&](const Recipe& r) { return name == r.name; });
  if (recipe == std::end(kRecipes)) return false;
  for (int i = 0; i < c.layers; ++i) {
    bool full = false;
    for (int r = 0; r < recipe->full_ranges; ++r) full |= i >= recipe->full[r].first && i <= recipe->full[r].last;
    if (!full) widths[i] /= 2;
  }
  if (recipe->skips) skipped = {20, 21, 22, 23, 24};
  return true;
}

// The layers that share a cache become those of the smallest slice there is.
void CutTail(const Config& c, std::vector<int64_t>& widths, std::vector<int>& skipped) {
  for (int i = c.kv_layers; i < c.layers; ++i) widths[i] = c.ffn_width[i] / 2;
  if (HasE4bShape(c)) skipped = {20, 21, 22, 23, 24};
}

bool SameLayers(const Slice& a, const Slice& b) { return a.ffn_width == b.ffn_width && a.skipped == b.skipped; }

// SLICE_INVALID when it needs what is not in memory.
Status CheckLoaded(const Config& c, const Slice& slice) {
  for (int i = 0; i < c.layers; ++i) {
    if (slice.skipped[i] || slice.ffn_width[i] <= c.loaded(i)) continue;
    return Error(
        Code::SLICE_INVALID,
        "slice %s needs %lld neurons of layer %d; of this file only what slice %s needs was loaded, %lld there",
        slice.name.c_str(), static_cast<long long>(slice.ffn_width[i]), i, c.loaded_slice.c_str(),
        static_cast<long long>(c.loaded(i)));
  }
  return Status();
}

StatusOr<Slice> Checked(const Config& c, std::string_view name, const std::vector<int64_t>& widths,
                        const std::vector<int>& skipped) {
  if (widths.size() != static_cast<size_t>(c.layers)) {
    return Error(Code::SLICE_INVALID, "%zu FFN widths for the %d layers of the file", widths.size(), c.layers);
  }
  Slice slice = Slice::Full(c);
  slice.name = std::string(name);
  for (int i = 0; i < c.layers; ++i) {
    const int64_t multiple = std::max(Slice::kWidthMultiple, c.ffn_block[i]);  // both are powers of two
    if (widths[i] < multiple || widths[i] > c.ffn_width[i] || widths[i] % multiple != 0) {
      return Error(Code::SLICE_INVALID, "layer %d: width %lld; multiples of %lld%s up to the file's %lld are allowed",
                   i, static_cast<long long>(widths[i]), static_cast<long long>(multiple),
                   multiple > Slice::kWidthMultiple ? " (the values in a block of its down projection)" : "",
                   static_cast<long long>(c.ffn_width[i]));
    }
    slice.ffn_width[i] = widths[i];
  }
  for (int layer : skipped) {
    if (layer < c.kv_layers || layer >= c.layers) {
      return Error(Code::SLICE_INVALID, "layer %d cannot be left out; only layers %d to %d share a KV cache", layer,
                   c.kv_layers, c.layers - 1);
    }
    slice.skipped[layer] = true;
  }
  HEARTH_RETURN_IF_ERROR(CheckLoaded(c, slice));
  return slice;
}

}  // namespace

Slice Slice::Full(const Config& c) { return {"full", c.ffn_width, std::vector<bool>(c.layers, false)}; }

Slice Slice::Loaded(const Config& c) {
  // LoadOnly has seen that there is a slice of that name.
  return c.loaded_width.empty() ? Full(c) : Named(c, c.loaded_slice).value();
}

StatusOr<Slice> Slice::Named(const Config& c, std::string_view name) {
  std::vector<int64_t> widths;
  std::vector<int> skipped;
  const bool tail = EndsWithTail(name);
  if (!FromTable(c, tail ? name.substr(0, name.size() - kTail.size()) : name, widths, skipped)) {
    std::string names;
    for (const std::string& known : NamedSlices(c)) names += (names.empty() ? "" : ", ") + known;
    return Error(Code::SLICE_INVALID, "no slice is called \"%s\"; this model has %s",
                 std::string(name.substr(0, 64)).c_str(), names.c_str());
  }
  if (tail) CutTail(c, widths, skipped);
  return Checked(c, name, widths, skipped);
}

StatusOr<Slice> Slice::Custom(const Config& c, const std::vector<int64_t>& widths, const std::vector<int>& skipped) {
  return Checked(c, "custom", widths, skipped);
}

bool Slice::SameKv(const Slice& other, const Config& c) const {
  for (int i = 0; i < c.kv_layers; ++i) {
    if (ffn_width[i] != other.ffn_width[i]) return false;
  }
  return true;
}

std::vector<std::string> NamedSlices(const Config& c) {
  std::vector<std::string> names = {"full", "half"};
  if (HasE4bShape(c)) {
    for (const Recipe& recipe : kRecipes) names.push_back(recipe.name);
  }
  std::vector<Slice> known;
  std::erase_if(names, [&](const std::string& name) {
    StatusOr<Slice> slice = Slice::Named(c, name);
    if (slice.ok()) known.push_back(std::move(*slice));
    return !slice.ok();  // its widths cut a block of a down projection, or are more than what is loaded
  });
  for (size_t i = 0, heads = names.size(); i < heads; ++i) {
    StatusOr<Slice> tail = Slice::Named(c, names[i] + std::string(kTail));
    if (!tail.ok()) continue;
    if (std::any_of(known.begin(), known.end(), [&](const Slice& other) { return SameLayers(*tail, other); })) continue;
    names.push_back(tail.value().name);
    known.push_back(std::move(*tail));
  }
  return names;
}

Status LoadOnly(Config& c, std::string_view name) {
  HEARTH_ASSIGN_OR_RETURN(const Slice slice, Slice::Named(c, name));
  c.loaded_width = slice.ffn_width;
  for (int i = 0; i < c.layers; ++i) {
    if (slice.skipped[i]) c.loaded_width[i] = 0;
  }
  c.loaded_slice = slice.name;
  return Status();
}

SliceCost CostOf(const Config& c, const Slice& slice) {
  const auto layer = [&](int i) -> int64_t {
    const int64_t attention = 2 * c.hidden * c.q_dim();
    return attention + 3 * c.hidden * slice.ffn_width[i] + 2 * c.hidden * c.ple_dim;
  };
  const int64_t ple_input = c.hidden * c.ple_dim;            // one layer's share of per_layer_model_proj
  const int64_t end = (kStreams - 1) * c.hidden * c.hidden;  // altup_proj; altup_unembd_proj is as large
  const int64_t keys_values = c.kv_layers * 2 * c.hidden * c.kv_dim();
  int64_t prefill = end + keys_values, decode = 2 * end + keys_values + c.vocab * c.hidden;
  for (int i = 0; i < c.layers; ++i) {
    if (slice.skipped[i]) continue;
    decode += layer(i) + ple_input;
    // The last layer that writes K and V stops there.
    if (i < c.kv_layers - 1) prefill += layer(i) + ple_input;
  }
  return {static_cast<uint64_t>(decode), static_cast<uint64_t>(prefill)};
}

bool IsPublished(const Config& c, std::string_view name) {
  if (name == "full") return true;
  return HasE4bShape(c) && name != "half";
}

}  // namespace hearth
