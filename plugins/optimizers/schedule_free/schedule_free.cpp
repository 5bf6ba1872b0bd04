// Schedule-Free AdamW (Defazio et al. 2024, "The Road Less Scheduled", arXiv 2405.15682) as its authors' code has it. Gradients are taken
// at y, between the newest weights z and their average x, and x is what is evaluated and saved (th.optimizer.evaluation_point/1). All three
// begin as the parameter. With t = step + 1, g = gradient_scale x gradient at y and d = weight_decay x weight_decay_multiplier:
//   v = beta2 v + (1 - beta2) g g
//   z -= lr (g / (sqrt(v / (1 - beta2^t)) + epsilon) + d y)
//   x += c (z - x);  y = z + beta (x - z)
// x is the average of all z weighted by the square of the largest learning rate so far, so that the first steps of a warm-up count little:
// c = m_t^2 / sum over i <= t of m_i^2, which is 1 / t without a warm-up. The parameter is y in training; the state other_point is x then,
// and the two change places for an evaluation.
// Coefficients are computed in double, elements in float, in one pass over memory; on CUDA by ../tensors.
#include "trainhost/cpp/optimizer.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "elementwise/pieces.hpp"
#include "elementwise/tensor_path.hpp"
#include "schedule_free/kernel.hpp"
#include "whole_tensors/blocks.hpp"

namespace {

using namespace trainhost::sdk;
using elementwise::items;

constexpr std::array<std::string_view, 3> kStates = {"base", "other_point", "exp_avg_sq"};
constexpr std::array<std::string_view, 2> kScalars = {"largest_rate", "averaged"};

// The share of the newest weights in the average. The sum of all weights is kept in units of the newest one, `averaged`: that grows by 1
// a step while the largest rate stays, which float32 holds exactly.
double share_of_newest(const th_update &update) {
  float &largest_rate = *items<float>(update.states[3]), &averaged = *items<float>(update.states[4]);
  const double before = largest_rate;
  largest_rate = std::max(largest_rate, static_cast<float>(update.learning_rate));
  if (largest_rate == 0) return 0;  // as a warm-up may begin: nothing has moved yet
  const double ratio = before / largest_rate;
  averaged = static_cast<float>(averaged * ratio * ratio + 1);
  return 1.0 / averaged;
}

class ScheduleFree {
 public:
  static constexpr int32_t granularity = TH_GRANULARITY_TENSOR;  // for the scalars: a parameter's learning rate has a scale of its own

  ScheduleFree(const Host &host, const Config &config)
      : host_(host), settings_{config.number("beta"), config.number("beta2"), config.number("epsilon"), config.number("weight_decay")} {}

  void describe_states(const th_parameter_info &, StateList &states) const {
    for (const std::string_view name : kStates) states.like_parameter(name);
    for (const std::string_view name : kScalars) states.scalar(name);
  }

  void update(const th_update_call &call, std::span<const th_update> updates) const {
    for (const th_update &update : updates) {
      elementwise::check_parameter(update, updates.front().master);
      check_states(update, updates.front().master);
    }
    ScheduleFreeSettings settings = settings_;
    settings.beta = elementwise::momentum_of(call, settings_.beta);
    if (elementwise::on_cuda(updates)) return elementwise::tensor_optimizers().schedule_free(settings, call, updates);
    const double t = static_cast<double>(call.step) + 1;
    const ScheduleFreeStep shared{
        .gradient_scale = *call.gradient_scale,
        .beta = static_cast<float>(settings.beta),
        .beta2 = static_cast<float>(settings.beta2),
        .beta2_rest = static_cast<float>(1 - settings.beta2),
        .inverse_root_bias_correction = static_cast<float>(1 / std::sqrt(1 - std::pow(settings.beta2, t))),
        .epsilon = static_cast<float>(settings.epsilon),
        .learning_rate = 0,
        .decay = 0,
        .share = 0,
    };
    for (const th_update &update : updates) {
      ScheduleFreeStep own = shared;
      own.learning_rate = static_cast<float>(update.learning_rate);
      own.decay = static_cast<float>(update.learning_rate * settings.weight_decay * update.weight_decay_multiplier);
      own.share = static_cast<float>(share_of_newest(update));
      update_parameter(own, call.step == 0, update);
    }
  }

  void to_evaluation(std::span<const th_update> parameters, void *stream) const { swap_points(parameters, stream); }
  void to_training(std::span<const th_update> parameters, void *stream) const { swap_points(parameters, stream); }

 private:
  static void check_states(const th_update &update, const th_tensor &place) {
    whole_tensors::check_whole(update);
    elementwise::check_states(update, place, kStates);
    th_tensor scalar = place;
    scalar.rank = 0;
    for (size_t i = 0; i < kScalars.size(); ++i) {
      elementwise::check_tensor(update, "state " + std::string(kScalars[i]), update.states[kStates.size() + i], place, scalar,
                                TH_DTYPE_FLOAT, 32);
    }
  }

  void update_parameter(const ScheduleFreeStep &step, bool first_step, const th_update &update) const {
    elementwise::for_each_block(host_, {&update, 1}, [&](const th_update &, int64_t first, int64_t count) {
      float *const master = items<float>(update.master) + first, *const base = items<float>(update.states[0]) + first;
      float *const average = items<float>(update.states[1]) + first;
      if (first_step) {
        std::copy_n(master, count, base);
        std::copy_n(master, count, average);
      }
      schedule_free_kernel(step, master, items<const float>(update.gradient) + first, base, average, items<float>(update.states[2]) + first,
                           count);
    });
  }

  void swap_points(std::span<const th_update> parameters, void *stream) const {
    for (const th_update &parameter : parameters) {
      elementwise::check_weights(parameter, parameters.front().master);
      check_states(parameter, parameters.front().master);
    }
    if (elementwise::on_cuda(parameters)) return elementwise::tensor_optimizers().swap_with_state(parameters, 1, stream);
    elementwise::for_each_block(host_, parameters, [](const th_update &parameter, int64_t first, int64_t count) {
      float *const master = items<float>(parameter.master) + first;
      std::swap_ranges(master, master + count, items<float>(parameter.states[1]) + first);
    });
  }

  Host host_;
  ScheduleFreeSettings settings_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_OPTIMIZER, optimizer_table<ScheduleFree>)
