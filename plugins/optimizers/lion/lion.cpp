// Lion (Chen et al. 2023, arXiv 2302.06675). With g = gradient_scale x gradient and d = weight_decay x weight_decay_multiplier:
//   p -= lr (sign(beta1 m + (1 - beta1) g) + d p);  m += (1 - beta2)(g - m)
// Coefficients are computed in double, elements in float, in one pass over memory; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <array>

#include "elementwise/moments.hpp"
#include "elementwise/tensor_path.hpp"
#include "lion/kernel.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items;

constexpr std::array<std::string_view, 1> kStates = {"exp_avg"};

class Lion {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;

  Lion(const Host &host, const Config &config)
      : host_(host),
        settings_{config.number("beta1"), config.number("beta2"), config.number("weight_decay")},
        moments_(elementwise::moments_of(config)) {}

  void describe_states(const th_parameter_info &, StateList &states) const { states.like_parameter(kStates[0], 0, moments_); }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    elementwise::check_updates(updates, kStates, moments_);
    LionSettings settings = settings_;
    settings.beta1 = elementwise::momentum_of(call, settings.beta1);
    if (elementwise::on_cuda(updates)) return elementwise::tensor_optimizers().lion(settings, call, updates);
    elementwise::for_each_block(host_, updates, [&](const th_update &update, int64_t first, int64_t count) {
      const double decay = settings.weight_decay * update.weight_decay_multiplier;
      const LionStep step{.gradient_scale = *call.gradient_scale,
                          .keep = static_cast<float>(1 - update.learning_rate * decay),
                          .beta1 = static_cast<float>(settings.beta1),
                          .beta1_rest = static_cast<float>(1 - settings.beta1),
                          .beta2_rest = static_cast<float>(1 - settings.beta2),
                          .learning_rate = static_cast<float>(update.learning_rate)};
      elementwise::MomentBlock exp_avg(call, update, 0, first, count);
      lion_kernel(step, items<float>(update.master) + first, items<const float>(update.gradient) + first, exp_avg.values(), count);
      exp_avg.store();
    });
  }

 private:
  Host host_;
  LionSettings settings_;
  StateType moments_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Lion>)
