#include "addon/model/slice.h"

namespace hearth {
namespace {

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

}  // namespace

Slice Slice::Full(const Config& c) { return {"full", c.ffn_width, std::vector<bool>(c.layers, false)}; }

StatusOr<Slice> Slice::Named(const Config& c, std::string_view name) {
  if (name == "full") return Full(c);
  std::vector<int64_t> widths = c.ffn_width;
  std::vector<int> skipped;
  bool found = false;
  if (name == "half") {
    for (int64_t& width : widths) width /= 2;
    found = true;
  }
  for (const Recipe& recipe : kRecipes) {
    if (!HasE4bShape(c) || name != recipe.name) continue;
    for (int i = 0; i < c.layers; ++i) {
      bool full = false;
      for (int r = 0; r < recipe.full_ranges; ++r) full |= i >= recipe.full[r].first && i <= recipe.full[r].last;
      if (!full) widths[i] /= 2;
    }
    if (recipe.skips) skipped = {20, 21, 22, 23, 24};
    found = true;
  }
  if (!found) {
    std::string names;
    for (const std::string& known : NamedSlices(c)) names += (names.empty() ? "" : ", ") + known;
    return Error(Code::SLICE_INVALID, "no slice is called \"%s\"; this model has %s",
                 std::string(name.substr(0, 64)).c_str(), names.c_str());
  }
  HEARTH_ASSIGN_OR_RETURN(Slice slice, Custom(c, widths, skipped));
  slice.name = std::string(name);
  return slice;
}

StatusOr<Slice> Slice::Custom(const Config& c, const std::vector<int64_t>& widths, const std::vector<int>& skipped) {
  if (widths.size() != static_cast<size_t>(c.layers)) {
    return Error(Code::SLICE_INVALID, "%zu FFN widths for the %d layers of the file", widths.size(), c.layers);
  }
  Slice slice = Full(c);
  slice.name = "custom";
  for (int i = 0; i < c.layers; ++i) {
    if (widths[i] < kWidthMultiple || widths[i] > c.ffn_width[i] || widths[i] % kWidthMultiple != 0) {
      return Error(Code::SLICE_INVALID, "layer %d: width %lld; multiples of %lld up to the file's %lld are allowed", i,
                   static_cast<long long>(widths[i]), static_cast<long long>(kWidthMultiple),
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
  return slice;
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
  return names;
}

}  // namespace hearth
