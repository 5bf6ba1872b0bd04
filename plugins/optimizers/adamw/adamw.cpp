// AdamW, with the semantics of torch.optim.AdamW. With t = step + 1, g = gradient_scale x gradient and
// d = weight_decay x weight_decay_multiplier:
//   p -= lr d p;  m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g g
//   p -= lr / (1 - beta1^t) x m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
// Coefficients are computed in double, elements in float, in one pass over memory; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <array>
#include <cmath>

#include "adamw/kernel.hpp"
#include "elementwise/pieces.hpp"
#include "elementwise/tensor_path.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items;

constexpr std::array<std::string_view, 2> kStates = {"exp_avg", "exp_avg_sq"};

class AdamW {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;

  AdamW(const Host &host, const Config &config)
      : host_(host),
        beta1_(config.number("beta1")),
        beta2_(config.number("beta2")),
        epsilon_(config.number("epsilon")),
        weight_decay_(config.number("weight_decay")) {}

  void describe_states(const th_parameter_info &, StateList &states) const {
    for (const std::string_view name : kStates) states.like_parameter(name);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    elementwise::check_updates(updates, kStates);
    const double beta1 = elementwise::momentum_of(call, beta1_);
    if (elementwise::on_cuda(updates)) {
      return elementwise::tensor_optimizers().adamw({beta1, beta2_, epsilon_, weight_decay_}, call, updates);
    }
    const double t = static_cast<double>(call.step) + 1;
    const double bias_correction = 1 - std::pow(beta1, t);
    const AdamWStep shared{.gradient_scale = *call.gradient_scale,
                           .keep = 1,
                           .beta1_rest = static_cast<float>(1 - beta1),
                           .beta2 = static_cast<float>(beta2_),
                           .beta2_rest = static_cast<float>(1 - beta2_),
                           .step_size = 0,
                           .inverse_root_bias_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2_, t))),
                           .epsilon = static_cast<float>(epsilon_)};

    elementwise::for_each_block(host_, updates, [&](const th_update &update, int64_t first, int64_t count) {
      AdamWStep own = shared;
      own.keep = static_cast<float>(1 - update.learning_rate * weight_decay_ * update.weight_decay_multiplier);
      own.step_size = static_cast<float>(update.learning_rate / bias_correction);
      adamw_kernel(own, items<float>(update.master) + first, items<const float>(update.gradient) + first,
                   items<float>(update.states[0]) + first, items<float>(update.states[1]) + first, count);
    });
  }

 private:
  Host host_;
  double beta1_, beta2_, epsilon_, weight_decay_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<AdamW>)
