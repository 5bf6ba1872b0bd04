#include <algorithm>
#include <array>
#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include "tensors/batches.h"
#include "tensors/updates.h"

namespace tensors {
namespace {

// step(master, gradient, states) with the gradient scaled and all as matrices of the last dimension's rows, but states of their own shape
// as they are; then the compute copy.
template <class Step>
void for_each_parameter(const th_update_call &call, std::span<const th_update> updates, Step &&step) {
  if (updates.empty()) return;
  const at::Device device = device_of(updates.front().master);
  check_device(device);
  with_operators(device, call.stream, [&] {
    const at::Tensor scale = floats(call.gradient_scale, {}, device);
    for (const th_update &update : updates) {
      const auto matrix = [&](const th_tensor &tensor) {
        const at::Tensor whole = wrap(tensor);
        return whole.dim() == 0 ? whole.view({1, 1}) : whole.view({-1, whole.size(-1)});
      };
      step(update, matrix(update.master), matrix(update.gradient) * scale);
      if (update.compute_copy.data != nullptr) matrix(update.compute_copy).copy_(matrix(update.master));
    }
  });
}

at::Tensor length_of(const at::Tensor &tensor) { return at::linalg_vector_norm(tensor); }
at::Tensor rms(const at::Tensor &tensor) { return length_of(tensor) / std::sqrt(static_cast<double>(tensor.numel())); }

}  // namespace

void lamb(const LambSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  for_each_parameter(call, updates, [&](const th_update &update, const at::Tensor &master, const at::Tensor &gradient) {
    const std::array stored{wrap(update.states[0]).view_as(master), wrap(update.states[1]).view_as(master)};
    at::Tensor exp_avg = as_float32(stored[0]), exp_avg_sq = as_float32(stored[1]);
    exp_avg.lerp_(gradient, 1 - settings.beta1);
    exp_avg_sq.mul_(settings.beta2).addcmul_(gradient, gradient, 1 - settings.beta2);
    const at::Tensor unscaled = wrap(update.gradient).view_as(master);
    store(stored[0], exp_avg, unscaled, rounding_key(call.step, 0));
    store(stored[1], exp_avg_sq, unscaled, rounding_key(call.step, 1));
    exp_avg = as_float32(stored[0]);  // as the plugin's loops, which compute the direction twice
    exp_avg_sq = as_float32(stored[1]);
    const at::Tensor direction = exp_avg / (exp_avg_sq.sqrt() + settings.epsilon);
    direction.add_(master, settings.weight_decay * update.weight_decay_multiplier);
    if (settings.trust_ratio) {
      const at::Tensor parameter_norm = length_of(master), direction_norm = length_of(direction);
      const at::Tensor ratio = parameter_norm.clamp_max(settings.largest_norm) / direction_norm;
      direction.mul_(at::where((parameter_norm > 0).logical_and(direction_norm > 0), ratio, at::ones_like(ratio)));
    }
    master.sub_(direction, update.learning_rate);
  });
}

void adafactor(const AdafactorSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  const double rest = std::pow(static_cast<double>(call.step) + 1, settings.decay_power);
  for_each_parameter(call, updates, [&](const th_update &update, const at::Tensor &master, const at::Tensor &gradient) {
    const at::Tensor squares = gradient.square().add_(settings.epsilon);
    at::Tensor direction = gradient;
    if (update.info->rank >= 2) {
      const at::Tensor rows = wrap(update.states[0]), columns = wrap(update.states[1]);
      rows.lerp_(squares.mean(1, /*keepdim=*/true), rest);
      columns.lerp_(squares.mean(0, /*keepdim=*/true), rest);
      direction = gradient * (rows.mean() / rows).sqrt_() / columns.sqrt();
    } else {
      const at::Tensor variance = wrap(update.states[0]).view_as(master);
      variance.lerp_(squares, rest);
      direction = gradient / variance.sqrt();
    }
    direction.mul_(rms(master).clamp_min(settings.smallest_rms) / (rms(direction) / settings.clip).clamp_min(1));
    master.mul_(1 - update.learning_rate * settings.weight_decay * update.weight_decay_multiplier);
    master.sub_(direction, update.learning_rate);
  });
}

void schedule_free(const ScheduleFreeSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  const double root_bias_correction = std::sqrt(1 - std::pow(settings.beta2, static_cast<double>(call.step) + 1));
  for_each_parameter(call, updates, [&](const th_update &update, const at::Tensor &master, const at::Tensor &gradient) {
    const at::Tensor base = wrap(update.states[0]).view_as(master), average = wrap(update.states[1]).view_as(master);
    const at::Tensor exp_avg_sq = wrap(update.states[2]).view_as(master);
    const at::Tensor largest_rate = wrap(update.states[3]), averaged = wrap(update.states[4]);
    if (call.step == 0) {
      base.copy_(master);
      average.copy_(master);
    }
    const at::Tensor before = largest_rate.clone();
    largest_rate.clamp_min_(update.learning_rate);
    const at::Tensor counts = largest_rate > 0;
    averaged.mul_(at::where(counts, before / largest_rate, before).square_()).add_(counts);
    exp_avg_sq.mul_(settings.beta2).addcmul_(gradient, gradient, 1 - settings.beta2);
    base.sub_(master, update.learning_rate * settings.weight_decay * update.weight_decay_multiplier);
    base.addcdiv_(gradient, exp_avg_sq.sqrt().div_(root_bias_correction).add_(settings.epsilon), -update.learning_rate);
    average.lerp_(base, at::where(counts, averaged.reciprocal(), averaged));
    master.copy_(base.lerp(average, settings.beta));
  });
}

void swap_with_state(std::span<const th_update> parameters, size_t state, void *stream) {
  if (parameters.empty()) return;
  const at::Device device = device_of(parameters.front().master);
  check_device(device);
  with_operators(device, stream, [&] {
    for (const th_update &parameter : parameters) {
      const at::Tensor master = wrap(parameter.master), other = wrap(parameter.states[state]), kept = master.clone();
      master.copy_(other);
      other.copy_(kept);
      if (parameter.compute_copy.data != nullptr) wrap(parameter.compute_copy).copy_(master);
    }
  });
}

}  // namespace tensors
