// The optimizers on tensors of LibTorch, as the plugins reach them.
#pragma once

#include <span>

#include "matrix.h"
#include "trainhost/kinds/optimizer.h"

struct SgdSettings {
  double momentum, weight_decay;
  bool nesterov;
};

struct AdagradSettings {
  double epsilon, weight_decay;
};

struct AdamSettings {
  double beta1, beta2, epsilon, weight_decay;
  bool decoupled;  // AdamW's weight decay
};

struct LionSettings {
  double beta1, beta2, weight_decay;
};

struct AdEMAMixSettings {
  double beta1, beta2, beta3, alpha, epsilon, weight_decay;  // beta3 and alpha are those of the update
};

struct LambSettings {
  double beta1, beta2, epsilon, weight_decay, largest_norm;
  bool trust_ratio;
};

struct AdafactorSettings {
  double decay_power, epsilon, smallest_rms, clip, weight_decay;
};

struct ScheduleFreeSettings {
  double beta, beta2, epsilon, weight_decay;
};

struct MuonSettings {
  double momentum, update_rms, weight_decay;
};

// Of all parameters that the call is given.
template <class Settings>
using UpdateAll = void(const Settings &settings, const th_update_call &call, std::span<const th_update> updates);

// Each does what the plugin's CPU loops do (formulas in NAME/NAME.cpp and elementwise/adam.hpp) to checked updates whose tensors are on
// one device, enqueued on the call's stream and not waited for. Temporary memory is LibTorch's: at most 128 MiB of adam, sgd and adagrad,
// 384 MiB of lion and ademamix, four times the largest parameter of lamb, adafactor and schedule_free; muon has the call's workspace and
// once the gradient. Moments of bfloat16 take 128 MiB more each and 768 MiB to round them, of lamb and muon their parameter once more each
// and six times. Throw std::exception.
struct TensorOptimizers {
  UpdateAll<AdamSettings> *adam;
  // Without a momentum_buffer in the states, settings.momentum is 0.
  void (*sgd)(const SgdSettings &settings, const th_update_call &call, std::span<const th_update> updates, bool has_buffer);
  UpdateAll<AdagradSettings> *adagrad;
  UpdateAll<LionSettings> *lion;
  UpdateAll<AdEMAMixSettings> *ademamix;
  UpdateAll<LambSettings> *lamb;
  UpdateAll<AdafactorSettings> *adafactor;
  UpdateAll<ScheduleFreeSettings> *schedule_free;
  // Masters and the states with this index change places, then the compute copies. Takes the largest parameter once.
  void (*swap_with_state)(std::span<const th_update> parameters, size_t state, void *stream);
  // Of one hidden matrix.
  void (*muon)(const MuonSettings &settings, const th_update_call &call, const th_update &update);
  // On the CPU: on all threads; inside a body of parallel_for on the calling one.
  MultiplyAdd *multiply_add;
};

// The one export of lib/libtrainhost_tensor_optimizers.so.
using TensorOptimizersEntry = const TensorOptimizers *();
constexpr const char *kTensorOptimizersEntry = "trainhost_tensor_optimizers";
