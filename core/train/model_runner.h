// Runs a model's units over a micro-batch, forward and backward. The host keeps the activations between units.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "data/batch.h"
#include "device/buffer.h"
#include "plugin_host/adapters/model.h"
#include "train/parameter_store.h"

namespace trainhost {

class ModelRunner {
 public:
  // Both must outlive the runner.
  ModelRunner(Model &model, ParameterStore &parameters) : model_(model), parameters_(parameters) {}

  // Loss, and its gradient into the store: sum over the batch of loss_weight * token loss * loss_scale. step and micro_batch number
  // the randomness of the model. Errors: the plugin's; ids outside the vocabulary must have been refused before.
  Result<double> forward_backward(const TokenBatch &batch, double loss_scale, uint64_t seed, uint64_t step, uint32_t micro_batch);

  // Fills token_losses [B*T] with unweighted losses in nats, without keeping anything.
  Result<> token_losses(const TokenBatch &batch, std::span<float> losses);

  // Logits [rows, V] at the given positions of the batch. The model must have them.
  Result<> logits(const TokenBatch &batch, std::span<const int32_t> rows, std::span<float> logits);

 private:
  Result<> forward_hidden(const th_call &call, const th_batch &batch, uint64_t tokens, bool keep);
  Result<> backward_hidden(const th_call &call, const th_batch &batch, uint64_t tokens);
  void release_saved();
  float *activation(uint32_t unit, uint64_t tokens);

  Model &model_;
  ParameterStore &parameters_;
  std::vector<Buffer<float>> activations_;  // outputs of all units but the last; two take turns when nothing is kept
  Buffer<float> gradient_;
  std::vector<th_saved *> saved_;
};

}  // namespace trainhost
