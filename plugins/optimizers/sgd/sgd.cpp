// Stochastic gradient descent, with the semantics of torch.optim.SGD at dampening 0. With g = gradient_scale x gradient + d p and
// d = weight_decay x weight_decay_multiplier (coupled: the decay passes through the momentum):
//   without momentum: p -= lr g
//   momentum:         b = momentum b + g;  p -= lr b
//   Nesterov:         b = momentum b + g;  p -= lr (g + momentum b)
// PyTorch sets b = g at the first step; b starts at zero here, which is the same.
#include "trainhost/cpp/optimizer.hpp"

#include <array>
#include <cmath>

#include "elementwise/moments.hpp"
#include "elementwise/tensor_path.hpp"
#include "sgd/kernel.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items;

constexpr std::array<std::string_view, 1> kStates = {"momentum_buffer"};

class Sgd {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;

  Sgd(const Host &host, const Config &config)
      : host_(host),
        momentum_(config.number("momentum")),
        nesterov_(config.boolean("nesterov")),
        weight_decay_(config.number("weight_decay")),
        moments_(elementwise::moments_of(config)) {
    if (nesterov_ && momentum_ == 0) throw Failure(TH_INVALID, "nesterov = true with momentum = 0; expected a momentum above 0");
  }

  void describe_states(const th_parameter_info &, StateList &states) const {
    if (has_buffer()) states.like_parameter(kStates[0], 0, moments_);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    elementwise::check_updates(updates, std::span(kStates).first(has_buffer() ? 1 : 0), moments_);
    const double momentum = elementwise::momentum_of(call, momentum_);
    if (momentum != 0 && !has_buffer()) {
      throw Failure(TH_INVALID,
                    "the schedule gives a momentum, but momentum = 0 keeps no buffer for it; set the optimizer's momentum above 0");
    }
    if (elementwise::on_cuda(updates)) {
      return elementwise::tensor_optimizers().sgd({momentum, weight_decay_, nesterov_}, call, updates, has_buffer());
    }
    elementwise::for_each_block(host_, updates, [&](const th_update &update, int64_t first, int64_t count) {
      float *master = items<float>(update.master) + first;
      const float *gradient = items<const float>(update.gradient) + first;
      if (has_buffer()) {
        elementwise::MomentBlock buffer(call, update, 0, first, count);
        momentum_kernel(step(call, update, momentum), master, gradient, buffer.values(), count);
        buffer.store();
      } else {
        sgd_kernel(step(call, update, momentum), master, gradient, count);
      }
    });
  }

 private:
  bool has_buffer() const { return momentum_ != 0; }

  SgdStep step(const th_update_call &call, const th_update &update, double momentum) const {
    return {.gradient_scale = *call.gradient_scale,
            .weight_decay = static_cast<float>(weight_decay_ * update.weight_decay_multiplier),
            .learning_rate = static_cast<float>(update.learning_rate),
            .momentum = static_cast<float>(momentum),
            .gradient_share = nesterov_ ? 1.0f : 0.0f,
            .momentum_share = nesterov_ ? static_cast<float>(momentum) : 1.0f};
  }

  Host host_;
  double momentum_;
  bool nesterov_;
  double weight_decay_;
  StateType moments_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Sgd>)
