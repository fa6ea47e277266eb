// What computing one token more costs, learnt from how long steps take: little where a step waits for the weights to
// come from memory, as much as a step of its own where it waits for arithmetic. Decides how much is drafted, never what
// is written.
#ifndef HEARTH_SESSION_STEP_COST_H_
#define HEARTH_SESSION_STEP_COST_H_

#include <algorithm>
#include <cstdint>

namespace hearth {

class StepCost {
 public:
  // A step that computed `tokens` together.
  void Add(int64_t tokens, double seconds) {
    if (tokens == 1) {
      one_ = one_ == 0 ? seconds : Follow(one_, seconds);
      // A cost that keeps anything from being drafted would never be measured again: it is slowly forgotten instead.
      more_ += kForget * (kExpected - more_);
    } else if (one_ > 0) {
      const double more = (seconds / one_ - 1) / static_cast<double>(tokens - 1);
      more_ = Follow(more_, std::clamp(more, kLeast, kMost));
    }
  }

  // In steps of one token, 0.02 to 2.
  double more() const { return more_; }

 private:
  // Down faster than up: what is too long was interrupted, or came from the disk.
  static double Follow(double value, double seen) { return value + (seen < value ? 0.25 : 0.0625) * (seen - value); }

  static constexpr double kExpected = 0.25, kLeast = 0.02, kMost = 2, kForget = 1.0 / 256;
  double one_ = 0, more_ = kExpected;
};

}  // namespace hearth

#endif  // HEARTH_SESSION_STEP_COST_H_
