// The model plugin: units 0 (embedding), 1 ... layers (blocks), layers + 1 (head). Forward and backward are written by hand on
// LibTorch's matrix products; there is no autograd graph. See README.md for the formulas. On CUDA all is handed to tensors/.
#pragma once

#include <memory>

#include "block.h"
#include "configuration.h"
#include "embedding.h"
#include "head.h"
#include "parameters.h"
#include "tensors/tensor_model.h"

namespace trainhost::minicpm {

// A class for sdk/include/trainhost/cpp/model.hpp, which says what each slot does.
class Model {
 public:
  Model(const sdk::Host &host, const sdk::Config &config, const th_model_options &options);

  std::span<const th_parameter_info> parameters() const { return list_.parameters(); }
  std::span<const th_unit_info> units() const { return list_.units(); }
  th_saved *forward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                    th_tensor &output);
  void backward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                th_saved *saved, const th_tensor &output_gradient, th_tensor &input_gradient, th_tensor *parameter_gradients,
                const uint32_t *gradient_modes);
  void release(th_saved *saved);
  void loss_and_backward(const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input, th_tensor &loss,
                         th_tensor &input_gradient, th_tensor *parameter_gradients, const uint32_t *gradient_modes);
  static const void *extension(std::string_view id);

  void logits(const th_call &call, const th_tensor *parameters, const th_tensor &input, std::span<const int32_t> rows, th_tensor &output);
  double measure_peak();
  MemoryUse unit_memory(uint32_t unit, const th_call &call, int64_t sequences, int64_t sequence_length) const;

 private:
  uint32_t last_unit() const { return static_cast<uint32_t>(units().size()) - 1; }
  MemoryUse memory_of(uint32_t unit, const BatchShape &shape) const;  // with all of `saved` kept
  void check_positions(const Batch &batch) const;

  sdk::Host host_;
  const Configuration configuration_;
  const ParameterList list_;
  const Embedding embedding_;
  const Block block_;  // all layers have the same shape, and a layer is a function of its parameters
  const Head head_;
  const std::unique_ptr<TensorModel> tensors_;  // null on CPUs
};

}  // namespace trainhost::minicpm
