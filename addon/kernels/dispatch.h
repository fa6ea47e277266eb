// Chooses the kernel table for this CPU. The only file that asks what the CPU can do.
#ifndef HEARTH_KERNELS_DISPATCH_H_
#define HEARTH_KERNELS_DISPATCH_H_

#include "addon/kernels/kernels.h"

namespace hearth {

// The tables built into this binary that this CPU can run, best first; ends with null. The last one is `scalar`.
const hearth_kernels* const* AvailableKernels();

// The table called `isa`, or the best one for "" and "auto". Null when it is unknown or the CPU can't run it.
const hearth_kernels* ChooseKernels(const char* isa);

}  // namespace hearth

#endif  // HEARTH_KERNELS_DISPATCH_H_
