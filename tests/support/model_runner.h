// Drives a model plugin as the host does: owns parameters, gradients and the activations between units.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/batch.h"
#include "plugin_host/adapters/model.h"
#include "support/device_array.h"
#include "support/plugin_under_test.h"

namespace trainhost {

// A batch of documents of the given lengths, B of sequences of T tokens, all loss weights 1; tokens and targets random below the
// vocabulary.
TokenBatch random_documents(const std::vector<std::vector<int32_t>> &lengths, int32_t vocabulary, uint64_t seed);

class ModelRunner {
 public:
  struct Options {
    int32_t vocabulary = 0, sequence_length = 0;
    int64_t tokens = 0;
    Device *device = &cpu_device();  // outlives the runner
    bool bfloat16 = false;           // the compute dtype
  };
  // Throws std::runtime_error when the plugin refuses. Parameters are filled with their initial distribution.
  ModelRunner(const std::string &plugin, const std::map<std::string, ParameterValue> &parameters, const Options &options,
              uint64_t seed = 1);

  Model &model() { return *model_; }
  size_t parameter_count() const { return model_->parameters().size(); }
  std::string name(size_t parameter) const;
  size_t index(std::string_view name) const;
  // Copies on the CPU: parameters as the next call takes them, gradients as the last train left them.
  std::span<float> parameter(size_t index) { return parameters_[index].host; }
  std::span<float> gradient(size_t index) { return gradients_[index].host; }

  // The loss by forward of all units, in evaluation mode; token_losses filled when not null. loss_scale as in th_batch.
  float evaluate(TokenBatch &batch, double loss_scale, std::vector<float> *token_losses = nullptr);
  // Loss and gradients, which are added to what gradients() hold, or overwrite it. recompute: units keep nothing in the first forward and
  // are run again before their backward. split_head: the head's forward and backward instead of loss_and_backward.
  struct Way {
    bool add = false, recompute = false, split_head = false;
  };
  float train(TokenBatch &batch, double loss_scale, const Way &way);
  float train(TokenBatch &batch, double loss_scale) { return train(batch, loss_scale, Way{}); }
  // [B * T, V]
  std::vector<float> logits(TokenBatch &batch);
  // Runs all units but the last; the texts of failures are thrown.
  void forward(TokenBatch &batch);

 private:
  struct Mirrored {
    std::vector<float> host;
    DeviceArray device;
  };
  Mirrored mirrored(DeviceArray::Type type, size_t count);
  th_batch describe(TokenBatch &batch, double loss_scale);
  std::vector<th_tensor> tensors(std::span<const Mirrored> arrays, uint32_t unit) const;
  th_call call_of(uint32_t unit, bool training) const;
  th_tensor nothing() const;
  float loss() const;
  th_saved *forward(uint32_t unit, const th_batch &batch, bool training);
  void backward(uint32_t unit, const th_batch &batch, th_saved *saved, std::span<const uint32_t> modes);
  th_tensor rows(const DeviceArray &array);
  th_tensor loss_tensor();

  std::unique_ptr<Model> model_;
  Device &device_;
  int64_t vocabulary_, width_;
  DeviceArray::Type compute_;
  std::vector<Mirrored> parameters_, gradients_;
  std::vector<DeviceArray> activations_, batch_;
  std::vector<DeviceArray> flowing_;  // one: the gradient between units
  DeviceArray loss_;
  std::vector<std::vector<int64_t>> shapes_;  // of the parameters
  std::vector<std::array<int64_t, 2>> row_shapes_;
  std::array<int64_t, 1> one_{1};
};

}  // namespace trainhost
