// AdEMAMix (Pagliardini, Ablin, Grangier 2024, arXiv 2409.03137): AdamW with a second, slow average of the gradients. With t = step + 1,
// g = gradient_scale x gradient and d = weight_decay x weight_decay_multiplier:
//   p -= lr d p
//   m1 += (1 - beta1)(g - m1);  m2 += (1 - beta3(t))(g - m2);  v = beta2 v + (1 - beta2) g g
//   p -= lr (m1 / (1 - beta1^t) + alpha(t) m2) / (sqrt(v / (1 - beta2^t)) + epsilon)
// With x = min(1, t / T) and T the updates of the ramp, alpha(t) = x alpha, and the half-life of the slow average goes linearly from that
// of beta1 to that of beta3: with h(b) = ln 0.5 / ln b the half-life of b, beta3(t) = 0.5^(1 / ((1 - x) h(beta1) + x h(beta3))).
// Coefficients are computed in double, elements in float, in one pass over memory; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "ademamix/kernel.hpp"
#include "elementwise/moments.hpp"
#include "elementwise/tensor_path.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items;

constexpr std::array<std::string_view, 3> kStates = {"exp_avg", "exp_avg_slow", "exp_avg_sq"};

// The first step at whose end an amount is reached, but for rounding: an update knows its number, and batches need not be alike.
uint64_t steps_of(const Config &config, double tokens) {
  const auto reached = [&](uint64_t steps) { return config.resolve_amount(std::to_string(steps) + " steps") >= tokens * (1 - 1e-9); };
  uint64_t end = 1;
  while (!reached(end)) end *= 2;
  uint64_t first = end / 2;  // not reached there, unless it is 0
  while (end - first > 1) {
    const uint64_t middle = first + (end - first) / 2;
    (reached(middle) ? end : first) = middle;
  }
  return end;
}

double half_life(double beta) { return std::log(0.5) / std::log(beta); }

class AdEMAMix {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;

  AdEMAMix(const Host &host, const Config &config)
      : host_(host),
        beta1_(config.number("beta1")),
        beta2_(config.number("beta2")),
        beta3_(config.number("beta3")),
        alpha_(config.number("alpha")),
        epsilon_(config.number("epsilon")),
        weight_decay_(config.number("weight_decay")),
        moments_(elementwise::moments_of(config)),
        ramp_(static_cast<double>(steps_of(config, config.amount("ramp")))) {}

  void describe_states(const th_parameter_info &, StateList &states) const {
    for (const std::string_view name : kStates) states.like_parameter(name, 0, moments_);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    elementwise::check_updates(updates, kStates, moments_);
    const AdEMAMixSettings settings = settings_at(call);
    if (elementwise::on_cuda(updates)) return elementwise::tensor_optimizers().ademamix(settings, call, updates);
    const double t = static_cast<double>(call.step) + 1;
    const double bias_correction = 1 - std::pow(settings.beta1, t);
    const AdEMAMixStep shared{.gradient_scale = *call.gradient_scale,
                              .keep = 1,
                              .beta1_rest = static_cast<float>(1 - settings.beta1),
                              .beta3_rest = static_cast<float>(1 - settings.beta3),
                              .beta2 = static_cast<float>(settings.beta2),
                              .beta2_rest = static_cast<float>(1 - settings.beta2),
                              .fast_share = 0,
                              .slow_share = 0,
                              .inverse_root_bias_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(settings.beta2, t))),
                              .epsilon = static_cast<float>(settings.epsilon)};
    elementwise::for_each_block(host_, updates, [&](const th_update &update, int64_t first, int64_t count) {
      AdEMAMixStep own = shared;
      own.keep = static_cast<float>(1 - update.learning_rate * settings.weight_decay * update.weight_decay_multiplier);
      own.fast_share = static_cast<float>(update.learning_rate / bias_correction);
      own.slow_share = static_cast<float>(update.learning_rate * settings.alpha);
      elementwise::MomentBlock fast(call, update, 0, first, count), slow(call, update, 1, first, count),
          squares(call, update, 2, first, count);
      ademamix_kernel(own, items<float>(update.master) + first, items<const float>(update.gradient) + first, fast.values(), slow.values(),
                      squares.values(), count);
      fast.store();
      slow.store();
      squares.store();
    });
  }

 private:
  // Those of one update: the ramps' values.
  AdEMAMixSettings settings_at(const th_update_call &call) const {
    const double x = std::min(1.0, (static_cast<double>(call.step) + 1) / ramp_);
    const double beta3 = std::pow(0.5, 1 / ((1 - x) * half_life(beta1_) + x * half_life(beta3_)));
    return {elementwise::momentum_of(call, beta1_), beta2_, beta3, x * alpha_, epsilon_, weight_decay_};
  }

  Host host_;
  double beta1_, beta2_, beta3_, alpha_, epsilon_, weight_decay_;
  StateType moments_;
  double ramp_;  // in updates
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<AdEMAMix>)
