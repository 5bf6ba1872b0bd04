// A model plugin as an object.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugin_host/instance.h"
#include "trainhost/ext/model_logits.h"
#include "trainhost/ext/model_memory.h"
#include "trainhost/ext/model_peak.h"
#include "trainhost/kinds/model.h"

namespace trainhost {

class Model {
 public:
  // Checks what the plugin describes (names unique, shapes positive, each parameter in a unit, at least two units): else
  // kPluginContract.
  static Result<std::unique_ptr<Model>> create(std::unique_ptr<PluginInstance> plugin, const th_model_options &options);
  ~Model();

  // Constant; strings and arrays behind them are the instance's.
  std::span<const th_parameter_info> parameters() const { return parameters_; }
  std::span<const th_unit_info> units() const { return units_; }
  double forward_flops_per_token() const;  // of all units
  // What scaling laws call a model's size: the elements of all parameters but embeddings and heads, which grow with the vocabulary.
  uint64_t parameters_without_embeddings() const;
  const Manifest &manifest() const { return plugin_->manifest(); }

  // The slots of kinds/model.h; errors name the unit. One thread.
  Result<th_saved *> forward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                             th_tensor &output);
  Result<> backward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                    th_saved *saved, const th_tensor &output_gradient, th_tensor &input_gradient, th_tensor *parameter_gradients,
                    const uint32_t *gradient_modes);
  void release(th_saved *saved);
  // The last unit's forward and backward; calls the two when the plugin has no slot of its own for it.
  Result<> loss_and_backward(const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                             th_tensor &loss, th_tensor &input_gradient, th_tensor *parameter_gradients, const uint32_t *gradient_modes);
  bool has_logits() const { return logits_ != nullptr; }
  Result<> logits(const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                  std::span<const int32_t> rows, th_tensor &output);
  // Floating-point operations per second that its matrix products reach here; 0 when the model cannot tell.
  Result<double> measure_peak();

  // What a unit takes for itself over a micro-batch of so many sequences of so many tokens; see ext/model_memory.h.
  struct UnitMemory {
    uint64_t saved = 0, forward = 0, backward = 0;
  };
  bool tells_memory() const { return memory_ != nullptr; }
  // The model must tell it. keep: as in th_call.
  Result<UnitMemory> unit_memory(uint32_t unit, bool training, bool keep, uint32_t sequences, uint32_t sequence_length) const;

 private:
  Model() = default;
  Result<> check(th_status status, std::string_view call, uint32_t unit) const;

  std::unique_ptr<PluginInstance> plugin_;
  const th_model_api *api_ = nullptr;
  const th_model_logits *logits_ = nullptr;
  const th_model_peak *peak_ = nullptr;
  const th_model_memory *memory_ = nullptr;
  th_model *self_ = nullptr;
  std::vector<th_parameter_info> parameters_;
  std::vector<th_unit_info> units_;
};

}  // namespace trainhost
