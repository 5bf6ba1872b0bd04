#include <cmath>

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_sign.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_fused_adagrad.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/full.h>

#include "tensors/batches.h"
#include "tensors/updates.h"

namespace tensors {
namespace {

// What the fused optimizers want to know of each tensor: the number of this update, from 1.
std::vector<at::Tensor> steps(const th_update_call &call, const Batch &batch) {
  return {batch.masters.size(), at::full({}, static_cast<double>(call.step) + 1, batch.masters[0].options())};
}

void decay(const Batch &batch, double weight_decay) {
  at::_foreach_mul_(batch.masters, 1 - batch.learning_rate * weight_decay * batch.weight_decay_multiplier);
}

}  // namespace

void adam(const AdamSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  for_each_batch(call, updates, 2, [&](Batch &batch) {
    const auto update = [&](auto &&fused) {
      fused(batch.masters, batch.gradients, batch.states[0], batch.states[1], /*max_exp_avg_sqs=*/at::TensorList{}, steps(call, batch),
            batch.learning_rate, settings.beta1, settings.beta2, settings.weight_decay * batch.weight_decay_multiplier, settings.epsilon,
            /*amsgrad=*/false, /*maximize=*/false);
    };
    settings.decoupled ? update([](const auto &...arguments) { at::_fused_adamw_(arguments...); })
                       : update([](const auto &...arguments) { at::_fused_adam_(arguments...); });
  });
}

void sgd(const SgdSettings &settings, const th_update_call &call, std::span<const th_update> updates, bool has_buffer) {
  for_each_batch(call, updates, has_buffer ? 1 : 0, [&](Batch &batch) {
    double weight_decay = settings.weight_decay * batch.weight_decay_multiplier;
    std::vector<at::Tensor> &buffers = batch.states[0];
    if (settings.momentum == 0 && has_buffer) {  // which the fused one refuses: the buffer forgets all but this gradient
      at::_foreach_add_(batch.gradients, batch.masters, std::exchange(weight_decay, 0));
      at::_foreach_copy_(buffers, batch.gradients);
      buffers.clear();
    }
    at::_fused_sgd_(batch.masters, batch.gradients, buffers, weight_decay, settings.momentum, batch.learning_rate, /*dampening=*/0,
                    settings.nesterov && settings.momentum != 0, /*maximize=*/false, /*is_first_step=*/false);
  });
}

void adagrad(const AdagradSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  for_each_batch(call, updates, 1, [&](Batch &batch) {
    at::_fused_adagrad_(batch.masters, batch.gradients, batch.states[0], steps(call, batch), batch.learning_rate, /*lr_decay=*/0,
                        settings.weight_decay * batch.weight_decay_multiplier, settings.epsilon, /*maximize=*/false);
  });
}

void lion(const LionSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  for_each_batch(call, updates, 1, [&](Batch &batch) {
    std::vector<at::Tensor> direction = at::_foreach_mul(batch.states[0], settings.beta1);
    at::_foreach_add_(direction, batch.gradients, 1 - settings.beta1);
    at::_foreach_sign_(direction);
    at::_foreach_lerp_(batch.states[0], batch.gradients, 1 - settings.beta2);
    decay(batch, settings.weight_decay);
    at::_foreach_add_(batch.masters, direction, -batch.learning_rate);
  });
}

void ademamix(const AdEMAMixSettings &settings, const th_update_call &call, std::span<const th_update> updates) {
  const double t = static_cast<double>(call.step) + 1;
  for_each_batch(call, updates, 3, [&](Batch &batch) {
    auto &[fast, slow, squares] = batch.states;
    at::_foreach_lerp_(fast, batch.gradients, 1 - settings.beta1);
    at::_foreach_lerp_(slow, batch.gradients, 1 - settings.beta3);
    at::_foreach_mul_(squares, settings.beta2);
    at::_foreach_addcmul_(squares, batch.gradients, batch.gradients, 1 - settings.beta2);
    std::vector<at::Tensor> root = at::_foreach_sqrt(squares);
    at::_foreach_mul_(root, 1 / std::sqrt(1 - std::pow(settings.beta2, t)));
    at::_foreach_add_(root, settings.epsilon);
    std::vector<at::Tensor> direction = at::_foreach_mul(fast, 1 / (1 - std::pow(settings.beta1, t)));
    at::_foreach_add_(direction, slow, settings.alpha);
    decay(batch, settings.weight_decay);
    at::_foreach_addcdiv_(batch.masters, direction, root, -batch.learning_rate);
  });
}

}  // namespace tensors
