// Changing the resolution of feature maps, as torch does it.
#ifndef HEARTH_OPS_RESAMPLE2D_H_
#define HEARTH_OPS_RESAMPLE2D_H_

#include "addon/ops/exec.h"
#include "addon/ops/feature_map.h"

namespace hearth {

// out's channels from `channel` on = `in`, each pixel from the nearest at or before it (F.interpolate, mode "nearest";
// equal sizes copy).
void UpsampleNearestInto(Exec& exec, FeatureMap in, int64_t channel, FeatureMap out);

// The mean of each block where out's sides divide in's (F.avg_pool2d), else bilinear without antialias (F.interpolate,
// align_corners false).
void PoolOrInterpolate(Exec& exec, FeatureMap in, FeatureMap out);

}  // namespace hearth

#endif  // HEARTH_OPS_RESAMPLE2D_H_
