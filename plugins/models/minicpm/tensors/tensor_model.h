// The model on tensors of LibTorch, forward and backward by hand as in the CPU kernels: what minicpm runs on CUDA. Work is enqueued on the
// call's stream and never waited for. Its memory is LibTorch's cache.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "configuration.h"
#include "parameters.h"
#include "scratch.h"

namespace trainhost::minicpm {

// A class for sdk/include/trainhost/cpp/model.hpp, which says what each slot does.
class TensorModel {
 public:
  // Logits that exist at a time: 256 MiB and their gradient's copy keep a large device busy.
  static constexpr int64_t kPieceLogits = int64_t{64} << 20;

  // On the device and in the dtype of the options. Throws Failure: TH_UNSUPPORTED where this process has no CUDA device of that number or
  // the dtype is neither float32 nor bfloat16.
  TensorModel(const sdk::Host &host, const sdk::Config &config, const th_model_options &options, int64_t piece_logits = kPieceLogits);
  ~TensorModel();

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
  static const void *extension(std::string_view) { return nullptr; }

  // As the extensions of ../model.h say.
  void logits(const th_call &call, const th_tensor *parameters, const th_tensor &input, std::span<const int32_t> rows, th_tensor &output);
  double measure_peak();
  MemoryUse unit_memory(uint32_t unit, int64_t rows) const;

 private:
  uint32_t last_unit() const { return static_cast<uint32_t>(units().size()) - 1; }

  const Configuration configuration_;
  const ParameterList list_;
  struct Units;
  std::unique_ptr<const Units> parts_;
};

}  // namespace trainhost::minicpm
