// Moments: states that average or sum gradients, kept as float32 or as bfloat16 (parameter `moments`). Those of bfloat16 are computed with
// in float32 and rounded up or down at random with the probabilities that make the mean right. To nearest they would stand still: with
// beta2 = 0.999 a second moment changes by a thousandth, less than half of a bfloat16's last place (2^-9). What is drawn is a hash of the
// update's number, the state's number, the new value and the gradient, so it depends neither on how parameters are cut nor on threads.
#pragma once

#include <string_view>

#include "elementwise/pieces.hpp"

namespace elementwise {

using trainhost::sdk::StateType;

inline StateType moments_of(const trainhost::sdk::Config &config) {
  return config.string("moments") == "bfloat16" ? StateType::kBfloat16 : StateType::kFloat32;
}

// At most kBlock elements of an update's state as float32: in place, or a copy that store() rounds back.
class MomentBlock {
 public:
  MomentBlock(const th_update_call &call, const th_update &update, size_t state, int64_t first, int64_t count)
      : gradient_(items<const float>(update.gradient) + first), count_(count) {
    const th_tensor &tensor = update.states[state];
    if (tensor.dtype_code == TH_DTYPE_FLOAT) {
      values_ = items<float>(tensor) + first;
      return;
    }
    stored_ = items<uint16_t>(tensor) + first;
    key_ = rounding_key(call.step, state);
    widen_bfloat16(stored_, copy_, count);
    values_ = copy_;
  }
  MomentBlock(const MomentBlock &) = delete;
  MomentBlock &operator=(const MomentBlock &) = delete;

  float *values() { return values_; }
  void store() {
    if (stored_ != nullptr) round_stochastically(key_, values_, gradient_, stored_, count_);
  }

 private:
  const float *gradient_;
  int64_t count_;
  float *values_;
  uint16_t *stored_ = nullptr;  // of bfloat16
  RoundingKey key_;
  float copy_[kBlock];
};

}  // namespace elementwise
