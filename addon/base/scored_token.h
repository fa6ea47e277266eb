// A token and its logit: what the head hands to the sampler.
#ifndef HEARTH_BASE_SCORED_TOKEN_H_
#define HEARTH_BASE_SCORED_TOKEN_H_

#include <cstdint>

namespace hearth {

struct ScoredToken {
  float logit;
  int32_t token;
};

}  // namespace hearth

#endif  // HEARTH_BASE_SCORED_TOKEN_H_
