// AdamW and SGD on tensors of LibTorch, as the plugins reach them.
#pragma once

#include <span>

#include "trainhost/kinds/optimizer.h"

struct AdamWSettings {
  double beta1, beta2, epsilon, weight_decay;
};

struct SgdSettings {
  double momentum, weight_decay;
  bool nesterov;
};

// Each does what the plugin's CPU loops do (formulas in adamw/adamw.cpp and sgd/sgd.cpp) to checked updates whose tensors are on one
// device, enqueued on the call's stream and not waited for. Temporary memory, LibTorch's, is at most 128 MiB. Throw std::exception.
struct TensorOptimizers {
  void (*adamw)(const AdamWSettings &settings, const th_update_call &call, std::span<const th_update> updates);
  // Without a momentum_buffer in the states, settings.momentum is 0.
  void (*sgd)(const SgdSettings &settings, const th_update_call &call, std::span<const th_update> updates, bool has_buffer);
};

// The one export of lib/libtrainhost_tensor_optimizers.so.
using TensorOptimizersEntry = const TensorOptimizers *();
constexpr const char *kTensorOptimizersEntry = "trainhost_tensor_optimizers";
