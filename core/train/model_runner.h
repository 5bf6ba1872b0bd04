// Runs a model's units over micro-batches, forward and backward. The host keeps the activations between units.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/exact_sum.h"
#include "base/status.h"
#include "data/batch.h"
#include "device/buffer.h"
#include "plugin_host/adapters/model.h"
#include "tensor/tensor_view.h"
#include "train/gradient_store.h"
#include "train/parameter_store.h"

namespace trainhost {

// Activations on their way to a neighbouring stage, whose buffers are kept until they are gone.
constexpr size_t kSendsAtOnce = 4;

class ModelRunner {
 public:
  struct Parts {
    Model &model;
    ParameterStore &parameters;
    GradientStore *gradients = nullptr;  // null: only evaluates
    std::vector<bool> recomputed;        // per unit: whether its forward keeps nothing and runs again before its backward; empty: none
  };
  // All parts outlive the runner.
  explicit ModelRunner(Parts parts);
  ~ModelRunner();

  // What a step's micro-batches share. Numbers of micro-batches count those of all ranks: number(i) = first + i * stride.
  struct StepContext {
    double loss_scale;
    uint64_t seed, step;
    uint32_t first = 0, stride = 1;
  };
  // What the stage that has the last unit learns of a step; the others nothing.
  struct StepLosses {
    ExactSum sum;                               // over the micro-batches, of loss_weight * token loss * loss_scale
    bool by_token = false;                      // whether to fill in what follows
    std::vector<std::vector<float>> of_tokens;  // of each micro-batch [B*T], in nats and unweighted; finite where the loss is
  };
  // Losses, and their gradients into the gradient store. Seed, step and number give the randomness of the model. Errors: the plugin's; ids
  // outside the vocabulary must have been refused before.
  Result<> forward_backward(std::span<const TokenBatch> batches, const StepContext &context, StepLosses &losses);

  const Model &model() const { return parts_.model; }
  const Spread &spread() const { return parts_.parameters.spread(); }
  // Whether this process has the last unit, which gives losses.
  bool gives_loss() const;

  // Sees the output [B*T, width] of each unit but the last, in their order, valid during the call; on a stage that is not the first that
  // of the unit before its own, too.
  using Watch = std::function<void(uint32_t unit, std::span<const float> output)>;
  // How a forward is changed and watched, to learn what its units do.
  struct Probe {
    std::optional<uint32_t> without;  // this unit is left out: its input, which must be as wide as its output, passes in its place
    Watch watch;                      // may be empty
  };
  // Fills token_losses [B*T] with unweighted losses in nats where gives_loss(), without keeping anything.
  Result<> token_losses(const TokenBatch &batch, std::span<float> losses, const Probe &probe = Probe());

  // Logits [rows, V] at the given positions of the batch, on every rank. The model must have them.
  Result<> logits(const TokenBatch &batch, std::span<const int32_t> rows, std::span<float> logits);

 private:
  struct Pass;  // a micro-batch under way
  class DeviceLosses;
  Result<> forward(Pass &pass, const Probe &probe = Probe());
  void show(const Probe &probe, const Pass &pass, uint32_t unit, const Buffer<float> &output) const;
  Result<> backward(Pass &pass, float *loss);
  Result<> loss_and_backward(Pass &pass, Buffer<float> &gradient, float *loss);
  Result<> unit_backward(Pass &pass, uint32_t unit, Buffer<float> &gradient);
  Result<> run_unit(Pass &pass, uint32_t unit, bool keep, const th_tensor *parameters, float *output);
  Buffer<float> activations(const Pass &pass, uint64_t width) const;  // room for [rows, width] of them
  TensorView activation_view(const Pass &pass, const float *data, uint64_t width) const;
  Device &device() const { return *spread().compute.device; }
  ProcessGroup &stages() const { return *parts_.parameters.spread().stages; }
  uint32_t end_of_hidden() const;  // units of this stage before the last of the model
  uint64_t width_before(uint32_t unit) const;
  Result<> send(Buffer<float> values, uint64_t count, uint32_t to);
  Result<> settle_sent(size_t at_most);
  Result<> check_token_losses(const TokenBatch &batch, float loss, std::span<const float> token_losses) const;

  Parts parts_;
  struct Sent {
    Buffer<float> values;
    std::unique_ptr<Pending> pending;
  };
  std::deque<Sent> sent_;  // to the neighbouring stages
};

// Which units' activations are computed again: every `every`-th, all for 1, none for 0. The last unit keeps nothing in any case.
std::vector<bool> recomputed_units(size_t units, uint32_t every);

}  // namespace trainhost
