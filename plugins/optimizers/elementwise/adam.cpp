#include "elementwise/adam.hpp"

#include <cmath>

#include "elementwise/adam_kernel.hpp"
#include "elementwise/moments.hpp"
#include "elementwise/tensor_path.hpp"

namespace elementwise {

void adam(const trainhost::sdk::Host &host, const AdamSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  if (on_cuda(updates)) return tensor_optimizers().adam(settings, call, updates);
  const double t = static_cast<double>(call.step) + 1;
  const double bias_correction = 1 - std::pow(settings.beta1, t);
  const AdamStep shared{.gradient_scale = *call.gradient_scale,
                        .coupled_decay = 0,
                        .keep = 1,
                        .beta1_rest = static_cast<float>(1 - settings.beta1),
                        .beta2 = static_cast<float>(settings.beta2),
                        .beta2_rest = static_cast<float>(1 - settings.beta2),
                        .step_size = 0,
                        .inverse_root_bias_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(settings.beta2, t))),
                        .epsilon = static_cast<float>(settings.epsilon)};

  for_each_block(host, updates, [&](const th_update &update, int64_t first, int64_t count) {
    AdamStep own = shared;
    const double decay = settings.weight_decay * update.weight_decay_multiplier;
    own.keep = static_cast<float>(settings.decoupled ? 1 - update.learning_rate * decay : 1);
    own.coupled_decay = static_cast<float>(settings.decoupled ? 0 : decay);
    own.step_size = static_cast<float>(update.learning_rate / bias_correction);
    MomentBlock exp_avg(call, update, 0, first, count), exp_avg_sq(call, update, 1, first, count);
    adam_kernel(own, items<float>(update.master) + first, items<const float>(update.gradient) + first, exp_avg.values(),
                exp_avg_sq.values(), count);
    exp_avg.store();
    exp_avg_sq.store();
  });
}

}  // namespace elementwise
