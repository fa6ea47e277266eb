#include "addon/ops/kernel_lookup.h"

#include "addon/gguf/block_types.h"

namespace hearth {

// clang-format off

hearth_gemv_fn GemvOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
#define HEARTH_WEIGHT_KERNELS(name, TYPE) case HEARTH_##TYPE: return kernels.gemv_##name;
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS
  }
  return nullptr;
}

hearth_dequantize_fn DequantizeOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
#define HEARTH_WEIGHT_KERNELS(name, TYPE) case HEARTH_##TYPE: return kernels.dequantize_##name;
#include "addon/kernels/kernel_list.inc"
#undef HEARTH_WEIGHT_KERNELS
  }
  return nullptr;
}

hearth_panel_fn PanelOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
#define HEARTH_QUANTISED_KERNELS(name, TYPE) case HEARTH_##TYPE: return kernels.panel_##name##_q8;
#define HEARTH_PANEL_KERNELS(name, TYPE) case HEARTH_##TYPE: return kernels.panel_##name##_q8;
#include "addon/kernels/quantised_list.inc"
#undef HEARTH_QUANTISED_KERNELS
#undef HEARTH_PANEL_KERNELS
  }
  return nullptr;
}

hearth_row_fn RowOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
#define HEARTH_QUANTISED_KERNELS(name, TYPE) case HEARTH_##TYPE: return kernels.row_##name##_q8;
#define HEARTH_PANEL_KERNELS(name, TYPE)
#include "addon/kernels/quantised_list.inc"
#undef HEARTH_QUANTISED_KERNELS
#undef HEARTH_PANEL_KERNELS
  }
  return nullptr;
}

hearth_column_fn ColumnOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
#define HEARTH_QUANTISED_KERNELS(name, TYPE) case HEARTH_##TYPE: return kernels.column_##name;
#define HEARTH_PANEL_KERNELS(name, TYPE)
#include "addon/kernels/quantised_list.inc"
#undef HEARTH_QUANTISED_KERNELS
#undef HEARTH_PANEL_KERNELS
  }
  return nullptr;
}

hearth_store_fn StoreOf(const hearth_kernels& kernels, uint32_t type) {
  switch (type) {
#define HEARTH_KV_KERNELS(name, TYPE) case HEARTH_##TYPE: return kernels.store_##name;
#include "addon/kernels/kv_list.inc"
#undef HEARTH_KV_KERNELS
  }
  return nullptr;
}

// clang-format on

}  // namespace hearth
