// Adam, as adam and adamw are and as muon treats what is no hidden matrix. With t = step + 1, g = gradient_scale x gradient and
// d = weight_decay x weight_decay_multiplier:
//   AdamW (decoupled): p -= lr d p        Adam: g += d p
//   m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g g
//   p -= lr / (1 - beta1^t) x m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
// Coefficients are computed in double, elements in float, in one pass over memory; on CUDA by ../tensors.
#pragma once

#include <array>

#include "elementwise/moments.hpp"
#include "tensors/tensor_optimizers.h"

namespace elementwise {

constexpr std::array<std::string_view, 2> kAdamStates = {"exp_avg", "exp_avg_sq"};

// Updates that check_updates has passed, on the device that they are on.
void adam(const trainhost::sdk::Host &host, const AdamSettings &settings, const th_update_call &call, std::span<const th_update> updates);

// The plugin's class of adam and adamw.
template <bool decoupled>
class Adam {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;

  Adam(const trainhost::sdk::Host &host, const trainhost::sdk::Config &config)
      : host_(host),
        settings_{config.number("beta1"), config.number("beta2"), config.number("epsilon"), config.number("weight_decay"), decoupled},
        moments_(moments_of(config)) {}

  void describe_states(const th_parameter_info &, trainhost::sdk::StateList &states) const {
    for (const std::string_view name : kAdamStates) states.like_parameter(name, 0, moments_);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    check_updates(updates, kAdamStates, moments_);
    AdamSettings settings = settings_;
    settings.beta1 = momentum_of(call, settings.beta1);
    adam(host_, settings, call, updates);
  }

 private:
  trainhost::sdk::Host host_;
  AdamSettings settings_;
  StateType moments_;
};

}  // namespace elementwise
