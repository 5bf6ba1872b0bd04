// Adagrad (Duchi, Hazan, Singer 2011), with the semantics of torch.optim.Adagrad without its own decay of the learning rate. With
// g = gradient_scale x gradient + d p and d = weight_decay x weight_decay_multiplier (coupled):
//   sum += g g;  p -= lr g / (sqrt(sum) + epsilon)
// Coefficients are computed in double, elements in float, in one pass over memory; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <array>

#include "adagrad/kernel.hpp"
#include "elementwise/pieces.hpp"
#include "elementwise/tensor_path.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items;

constexpr std::array<std::string_view, 1> kStates = {"sum"};

class Adagrad {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_ELEMENT;

  Adagrad(const Host &host, const Config &config)
      : host_(host), settings_{config.number("epsilon"), config.number("weight_decay")}, initial_sum_(config.number("initial_sum")) {}

  void describe_states(const th_parameter_info &, StateList &states) const { states.like_parameter(kStates[0], initial_sum_); }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    elementwise::check_updates(updates, kStates);
    elementwise::refuse_momentum(call);
    if (elementwise::on_cuda(updates)) return elementwise::tensor_optimizers().adagrad(settings_, call, updates);
    elementwise::for_each_block(host_, updates, [&](const th_update &update, int64_t first, int64_t count) {
      const AdagradStep step{.gradient_scale = *call.gradient_scale,
                             .weight_decay = static_cast<float>(settings_.weight_decay * update.weight_decay_multiplier),
                             .learning_rate = static_cast<float>(update.learning_rate),
                             .epsilon = static_cast<float>(settings_.epsilon)};
      adagrad_kernel(step, items<float>(update.master) + first, items<const float>(update.gradient) + first,
                     items<float>(update.states[0]) + first, count);
    });
  }

 private:
  Host host_;
  AdagradSettings settings_;
  double initial_sum_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Adagrad>)
