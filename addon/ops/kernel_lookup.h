// A table's kernels by the type of the weights (hearth_block_type); null for a type without.
#ifndef HEARTH_OPS_KERNEL_LOOKUP_H_
#define HEARTH_OPS_KERNEL_LOOKUP_H_

#include <cstdint>

#include "addon/kernels/kernels.h"

namespace hearth {

hearth_gemv_fn GemvOf(const hearth_kernels& kernels, uint32_t type);
hearth_dequantize_fn DequantizeOf(const hearth_kernels& kernels, uint32_t type);
// Panels, single rows and single columns, times 8-bit activations.
hearth_panel_fn PanelOf(const hearth_kernels& kernels, uint32_t type);
hearth_row_fn RowOf(const hearth_kernels& kernels, uint32_t type);
hearth_column_fn ColumnOf(const hearth_kernels& kernels, uint32_t type);
// For the types keys and values can be kept in.
hearth_store_fn StoreOf(const hearth_kernels& kernels, uint32_t type);

}  // namespace hearth

#endif  // HEARTH_OPS_KERNEL_LOOKUP_H_
