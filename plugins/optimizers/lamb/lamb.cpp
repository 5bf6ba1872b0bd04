// LAMB (You et al. 2019, arXiv 1904.00962, version 3). Each parameter p is a layer of its own. With g = gradient_scale x gradient and
// d = weight_decay x weight_decay_multiplier:
//   m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g g
//   r = m / (sqrt(v) + epsilon) + d p;  p -= lr min(|p|, largest_norm) / |r| x r, with the ratio 1 where a norm is 0
// without bias correction, which the ratio takes out. Norms are summed in double, elements are float; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <array>
#include <cmath>

#include "elementwise/tensor_path.hpp"
#include "lamb/kernel.hpp"
#include "whole_tensors/blocks.hpp"
#include "whole_tensors/vectors.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items, whole_tensors::kBlock, whole_tensors::Squares;

constexpr std::array<std::string_view, 2> kStates = {"exp_avg", "exp_avg_sq"};

class Lamb {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_TENSOR;

  Lamb(const Host &host, const Config &config)
      : host_(host), settings_{config.number("beta1"),        config.number("beta2"),        config.number("epsilon"),
                               config.number("weight_decay"), config.number("largest_norm"), config.boolean("trust_ratio")} {}

  void describe_states(const th_parameter_info &, StateList &states) const {
    for (const std::string_view name : kStates) states.like_parameter(name);
  }

  // The sums of each block; one parameter is updated after the other.
  uint64_t workspace(std::span<const th_parameter_info *const> parameters) const {
    int64_t most = 0;
    for (const th_parameter_info *info : parameters) most = std::max(most, whole_tensors::block_count(whole_tensors::element_count(*info)));
    return static_cast<uint64_t>(most) * sizeof(Squares);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    elementwise::check_updates(updates, kStates);
    for (const th_update &update : updates) whole_tensors::check_whole(update);
    LambSettings settings = settings_;
    settings.beta1 = elementwise::momentum_of(call, settings.beta1);
    if (elementwise::on_cuda(updates)) return elementwise::tensor_optimizers().lamb(settings, call, updates);
    for (const th_update &update : updates) update_layer(settings, call, update);
  }

 private:
  void update_layer(const LambSettings &settings, const th_update_call &call, const th_update &update) const {
    const LambStep step{.gradient_scale = *call.gradient_scale,
                        .beta1_rest = static_cast<float>(1 - settings.beta1),
                        .beta2 = static_cast<float>(settings.beta2),
                        .beta2_rest = static_cast<float>(1 - settings.beta2),
                        .epsilon = static_cast<float>(settings.epsilon),
                        .weight_decay = static_cast<float>(settings.weight_decay * update.weight_decay_multiplier)};
    const int64_t elements = elementwise::element_count(update.master);
    float *const master = items<float>(update.master);
    float *const exp_avg = items<float>(update.states[0]), *const exp_avg_sq = items<float>(update.states[1]);
    const float *const gradient = items<const float>(update.gradient);
    auto *const squares = static_cast<Squares *>(call.workspace);

    whole_tensors::for_each_block(host_, elements, [&](int64_t block, int64_t first, int64_t count) {
      float direction[kBlock];
      lamb_moments(step, gradient + first, exp_avg + first, exp_avg_sq + first, count);
      lamb_direction(step, master + first, exp_avg + first, exp_avg_sq + first, direction, count);
      squares[block] = {sum_of_squares(master + first, count), sum_of_squares(direction, count)};
    });
    const double ratio = trust_ratio(settings, whole_tensors::total(squares, whole_tensors::block_count(elements)));
    const auto length = static_cast<float>(update.learning_rate * ratio);
    whole_tensors::for_each_block(host_, elements, [&](int64_t, int64_t first, int64_t count) {
      float direction[kBlock];
      lamb_direction(step, master + first, exp_avg + first, exp_avg_sq + first, direction, count);
      step_along(1, master + first, length, direction, count);
      elementwise::write_compute_copy(update, first, count);
    });
  }

  static double trust_ratio(const LambSettings &settings, const Squares &squares) {
    if (!settings.trust_ratio || squares.parameter == 0 || squares.step == 0) return 1;
    return std::min(std::sqrt(squares.parameter), settings.largest_norm) / std::sqrt(squares.step);
  }

  Host host_;
  LambSettings settings_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Lamb>)
