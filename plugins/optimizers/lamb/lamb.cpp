// LAMB (You et al. 2019, arXiv 1904.00962, version 3). Each parameter p is a layer of its own. With g = gradient_scale x gradient and
// d = weight_decay x weight_decay_multiplier:
//   m += (1 - beta1)(g - m);  v = beta2 v + (1 - beta2) g g
//   r = m / (sqrt(v) + epsilon) + d p;  p -= lr min(|p|, largest_norm) / |r| x r, with the ratio 1 where a norm is 0
// without bias correction, which the ratio takes out. Norms are summed in double, elements are float; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <array>
#include <cmath>

#include "elementwise/moments.hpp"
#include "elementwise/tensor_path.hpp"
#include "lamb/kernel.hpp"
#include "whole_tensors/blocks.hpp"
#include "whole_tensors/vectors.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items, elementwise::MomentBlock, whole_tensors::kBlock, whole_tensors::Squares;

constexpr std::array<std::string_view, 2> kStates = {"exp_avg", "exp_avg_sq"};

class Lamb {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_TENSOR;

  Lamb(const Host &host, const Config &config)
      : host_(host),
        settings_{config.number("beta1"),        config.number("beta2"),        config.number("epsilon"),
                  config.number("weight_decay"), config.number("largest_norm"), config.boolean("trust_ratio")},
        moments_(elementwise::moments_of(config)) {}

  void describe_states(const th_parameter_info &, StateList &states) const {
    for (const std::string_view name : kStates) states.like_parameter(name, 0, moments_);
  }

  // The sums of each block; one parameter is updated after the other.
  uint64_t workspace(std::span<const th_parameter_info *const> parameters) const {
    int64_t most = 0;
    for (const th_parameter_info *info : parameters) most = std::max(most, whole_tensors::block_count(whole_tensors::element_count(*info)));
    return static_cast<uint64_t>(most) * sizeof(Squares);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    elementwise::check_updates(updates, kStates, moments_);
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
    const float *const gradient = items<const float>(update.gradient);
    auto *const squares = static_cast<Squares *>(call.workspace);

    whole_tensors::for_each_block(host_, elements, [&](int64_t block, int64_t first, int64_t count) {
      float direction[kBlock];
      {
        MomentBlock exp_avg(call, update, 0, first, count), exp_avg_sq(call, update, 1, first, count);
        lamb_moments(step, gradient + first, exp_avg.values(), exp_avg_sq.values(), count);
        exp_avg.store();
        exp_avg_sq.store();
      }
      direction_of(step, call, update, first, count, direction);
      squares[block] = {sum_of_squares(master + first, count), sum_of_squares(direction, count)};
    });
    const double ratio = trust_ratio(settings, whole_tensors::total(squares, whole_tensors::block_count(elements)));
    const auto length = static_cast<float>(update.learning_rate * ratio);
    whole_tensors::for_each_block(host_, elements, [&](int64_t, int64_t first, int64_t count) {
      float direction[kBlock];
      direction_of(step, call, update, first, count, direction);
      step_along(1, master + first, length, direction, count);
      elementwise::write_compute_copy(update, first, count);
    });
  }

  // Of the moments as they are stored, so that it is the same each time.
  static void direction_of(const LambStep &step, const th_update_call &call, const th_update &update, int64_t first, int64_t count,
                           float *direction) {
    MomentBlock exp_avg(call, update, 0, first, count), exp_avg_sq(call, update, 1, first, count);
    lamb_direction(step, items<float>(update.master) + first, exp_avg.values(), exp_avg_sq.values(), direction, count);
  }

  static double trust_ratio(const LambSettings &settings, const Squares &squares) {
    if (!settings.trust_ratio || squares.parameter == 0 || squares.step == 0) return 1;
    return std::min(std::sqrt(squares.parameter), settings.largest_norm) / std::sqrt(squares.step);
  }

  Host host_;
  LambSettings settings_;
  StateType moments_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<Lamb>)
