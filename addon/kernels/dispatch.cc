#include "addon/kernels/dispatch.h"

#include <string.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace hearth {
namespace {

struct Tables {
  const hearth_kernels* entries[5] = {};

  Tables() {
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni")) {
      entries[n++] = &hearth_kernels_x86_avx512vnni;
    }
    if (avx2) entries[n++] = &hearth_kernels_x86_avx2;
#elif defined(__aarch64__)
    const unsigned long capabilities = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
    const bool dotprod = (capabilities & HWCAP_ASIMDDP) != 0 && (capabilities & HWCAP_FPHP) != 0;
    if (dotprod && (more & HWCAP2_I8MM) != 0) entries[n++] = &hearth_kernels_arm_neon_i8mm;
    if (dotprod) entries[n++] = &hearth_kernels_arm_neon_dotprod;
#endif
    entries[n++] = &hearth_kernels_scalar;
  }
};

}  // namespace

const hearth_kernels* const* AvailableKernels() {
  static const Tables tables;
  return tables.entries;
}

const hearth_kernels* ChooseKernels(const char* isa) {
  const hearth_kernels* const* tables = AvailableKernels();
  if (isa == nullptr || *isa == '\0' || strcmp(isa, "auto") == 0) return tables[0];
  for (; *tables != nullptr; ++tables) {
    if (strcmp((*tables)->isa, isa) == 0) return *tables;
  }
  return nullptr;
}

}  // namespace hearth
