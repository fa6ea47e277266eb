// TextWeights::Pack: from the file's order to the kernels'.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "addon/model/weights.h"
#include "addon/ops/kernel_lookup.h"
#include "addon/ops/panels.h"

namespace hearth {
namespace {

// Bytes of the file that are rearranged, and then given back, at a time.
constexpr int64_t kStepBytes = 4 << 20;

// Whether a layer's FFN skips neurons: then up stays row-major and down becomes columns.
bool SkipsNeurons(const hearth_kernels& kernels, const LayerWeights& layer, float sparsity_z) {
  return std::isfinite(sparsity_z) && ColumnOf(kernels, layer.ffn_down.type) != nullptr &&
         RowOf(kernels, layer.ffn_up.type) != nullptr && layer.ffn_down.rows % 32 == 0 && layer.ffn_down.cols % 32 == 0;
}

// Bytes that the columns of a down projection take: codes, and a float16 scale for every 32 of them.
size_t ColumnCodeBytes(const Weight& w) {
  return static_cast<size_t>(ColumnWeight{.type = w.type}.CodeBytes(w.rows) * w.cols);
}
size_t ColumnScaleBytes(const Weight& w) { return static_cast<size_t>(w.cols / 32 * w.rows * 2); }
size_t ColumnBytes(const Weight& w) { return Arena::Rounded(ColumnCodeBytes(w)) + Arena::Rounded(ColumnScaleBytes(w)); }

// What there is to rearrange.
struct Plan {
  struct Panels {
    Weight from;
    Weight* to;
  };
  struct Down {
    Weight from;
    LayerWeights* to;
  };
  std::vector<Panels> panels;
  std::vector<Down> columns;
  uint64_t bytes = 0;
  uint64_t stored_bytes = 0;  // of matrices that stay where they lie in the map
  uint64_t file_bytes = 0;    // of those that are rearranged

  Plan(TextWeights& w, const hearth_kernels& kernels, const Config& c) {
    // The first `rows` rows and `cols` columns of a matrix.
    const auto panel = [&](Weight& weight, int64_t rows, int64_t cols, int64_t multiple = HEARTH_PANEL_ROWS) {
      if (weight.empty()) return;
      Weight part = weight.Rows(0, rows);
      part.cols = cols;
      part.head = &weight == &w.token_embd && part.type == HEARTH_Q8_0;
      if (multiple % HEARTH_PANEL_ROWS != 0 || !HasPanels(kernels, part.type, rows, cols)) {
        stored_bytes += static_cast<uint64_t>(rows * (weight.row_bytes * cols / weight.cols));
        return;
      }
      panels.push_back({part, &weight});
      bytes += Arena::Rounded(static_cast<size_t>(rows / HEARTH_PANEL_ROWS * PanelBytes(part.type, cols)));
      file_bytes += Stored(part);
    };
    const auto whole = [&](Weight& weight, int64_t multiple = HEARTH_PANEL_ROWS) {
      panel(weight, weight.rows, weight.cols, multiple);
    };
    whole(w.token_embd);
    whole(w.per_layer_model_proj, c.ple_dim);  // used a layer's rows at a time
    whole(w.altup_proj, c.hidden);
    whole(w.altup_unembd_proj, c.hidden);
    for (int i = 0; i < c.layers; ++i) {
      LayerWeights& l = w.layers[i];
      const int64_t width = c.loaded(i);
      if (width == 0) continue;
      for (Weight* weight :
           {&l.attn_q, &l.attn_k, &l.attn_v, &l.attn_output, &l.laurel_l, &l.laurel_r, &l.inp_gate, &l.proj}) {
        whole(*weight);
      }
      panel(l.ffn_gate, width, c.hidden);
      if (SkipsNeurons(kernels, l, c.sparsity_z[i])) {
        Weight down = l.ffn_down;
        down.cols = width;
        columns.push_back({down, &l});
        bytes += ColumnBytes(down);
        stored_bytes += static_cast<uint64_t>(width * l.ffn_up.row_bytes);
        file_bytes += Stored(down);
      } else {
        panel(l.ffn_up, width, c.hidden);
        panel(l.ffn_down, c.hidden, width);
      }
    }
  }

  static uint64_t Stored(const Weight& w) { return static_cast<uint64_t>(w.rows * w.row_bytes); }
};

// Outputs [begin, end), multiples of 32, of every neuron.
void PackColumns(const Weight& w, int64_t begin, int64_t end, uint8_t* codes, uint16_t* scales) {
  const bool q4 = w.type == HEARTH_Q4_0;
  const int64_t block_bytes = q4 ? 18 : 34, code_bytes = q4 ? w.rows / 2 : w.rows;
  for (int64_t r = begin; r < end; r += 32) {
    for (int64_t b = 0; b < w.cols / 32; ++b) {
      uint8_t tile[32][32];  // [output][neuron]
      for (int i = 0; i < 32; ++i) {
        const uint8_t* block = w.row(r + i) + b * block_bytes;
        std::memcpy(scales + b * w.rows + r + i, block, 2);
        for (int n = 0; n < 32; ++n) {
          tile[i][n] = !q4 ? block[2 + n] : static_cast<uint8_t>(n < 16 ? block[2 + n] & 15 : block[2 + n - 16] >> 4);
        }
      }
      for (int n = 0; n < 32; ++n) {
        uint8_t* out = codes + (b * 32 + n) * code_bytes + (q4 ? r / 2 : r);
        if (q4) {
          for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>(tile[i][n] | tile[i + 16][n] << 4);
        } else {
          for (int i = 0; i < 32; ++i) out[i] = tile[i][n];
        }
      }
    }
  }
}

}  // namespace

int64_t ColumnWeight::CodeBytes(int64_t values) const { return type == HEARTH_Q4_0 ? values / 2 : values; }

uint64_t TextWeights::ResidentBytes(const hearth_kernels& kernels, const Config& config) const {
  // Plan only notes where things are; the weights stay as they are.
  const Plan plan(const_cast<TextWeights&>(*this), kernels, config);
  return plan.bytes + plan.stored_bytes;
}

Status TextWeights::Pack(const hearth_kernels& kernels, const Config& config, ThreadPool& pool,
                         const Progress& progress) {
  const Plan plan(*this, kernels, config);
  HEARTH_RETURN_IF_ERROR(arena.Reserve(plan.bytes));
  uint64_t done = 0;
  // Around what is done with rows [first, first + count) of a matrix: meanwhile the disk reads those that come next.
  const auto begin = [&](const Weight& w, int64_t first, int64_t count) {
    const int64_t next = std::min(count, w.rows - first - count);
    file->WillNeed(w.row(first + count), static_cast<uint64_t>(next * w.row_bytes));
  };
  const auto finish = [&](const Weight& w, int64_t first, int64_t count) {
    const Weight part = w.Rows(first, count);
    file->Drop(part.data, Plan::Stored(part));
    done += Plan::Stored(part);
    if (progress) progress(done, plan.file_bytes);
  };
  // Rows that are rearranged at a time: the map's pages come and go in steps of a few megabytes.
  const auto step = [](const Weight& w, int64_t multiple) {
    return std::max<int64_t>(1, kStepBytes / (multiple * w.row_bytes)) * multiple;
  };
  for (const auto& [from, to] : plan.panels) {
    const int64_t bytes = PanelBytes(from.type, from.cols);
    uint8_t* out = arena.Take(static_cast<size_t>(from.rows / HEARTH_PANEL_ROWS * bytes));
    const int64_t rows = step(from, HEARTH_PANEL_ROWS);
    for (int64_t first = 0; first < from.rows; first += rows) {
      const int64_t count = std::min(rows, from.rows - first), panel = first / HEARTH_PANEL_ROWS;
      begin(from, first, count);
      pool.For(count / HEARTH_PANEL_ROWS, 1, [&, &weight = from](int64_t one, int64_t end, int) {
        PackPanels(weight, panel + one, panel + end, out);
      });
      finish(from, first, count);
    }
    *to = from;
    to->panels = out;
    to->panel_bytes = bytes;
    to->data = nullptr;
  }
  for (const auto& [from, to] : plan.columns) {
    uint8_t* codes = arena.Take(ColumnCodeBytes(from));
    uint16_t* scales = reinterpret_cast<uint16_t*>(arena.Take(ColumnScaleBytes(from)));
    const int64_t rows = step(from, 32);
    for (int64_t first = 0; first < from.rows; first += rows) {
      const int64_t count = std::min(rows, from.rows - first);
      begin(from, first, count);
      pool.For(count, 32, [&, &weight = from](int64_t one, int64_t end, int) {
        PackColumns(weight, first + one, first + end, codes, scales);
      });
      finish(from, first, count);
    }
    to->ffn_down_columns = {from.type, from.rows, codes, scales};
    to->ffn_down = Weight();
  }
  return Status();
}

}  // namespace hearth
