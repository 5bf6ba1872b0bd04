// An optimizer plugin as an object.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plugin_host/instance.h"
#include "tensor/element_span.h"
#include "trainhost/ext/optimizer_evaluation_point.h"
#include "trainhost/kinds/optimizer.h"

namespace trainhost {

// A state the host keeps for a parameter; `shape` is the parameter's own when like_parameter.
struct OptimizerState {
  std::string name;
  bool like_parameter = true;
  std::vector<int64_t> shape;
  double initial = 0;
  ElementType type = ElementType::kFloat32;
  bool operator==(const OptimizerState &) const = default;

  // Of the state of a parameter, or of a piece of it, of so many elements.
  size_t element_count(size_t parameter_elements) const;
};

// Where the parameters are: where gradients are taken, or where losses are measured.
enum class ParameterPoint { kTraining, kEvaluation };

class Optimizer {
 public:
  static Result<std::unique_ptr<Optimizer>> create(std::unique_ptr<PluginInstance> plugin);
  ~Optimizer();

  const Manifest &manifest() const { return plugin_->manifest(); }
  int32_t granularity() const;
  Result<std::vector<OptimizerState>> describe_states(const th_parameter_info &parameter) const;
  // Bytes that update will need for these parameters beside what it is given; 0 for optimizers that do not say.
  Result<uint64_t> workspace_bytes(std::span<const th_parameter_info *const> parameters) const;
  // One call for all parameters; see kinds/optimizer.h. One thread.
  Result<> update(const th_update_call &call, std::span<const th_update> updates);
  // Whether the two points of parameters differ (th.optimizer.evaluation_point/1); the same for its whole life.
  bool has_evaluation_point() const { return evaluation_point_ != nullptr; }
  // Moves parameters that are at the other point. Only with has_evaluation_point(), after an update; see
  // ext/optimizer_evaluation_point.h. One thread.
  Result<> move_to(ParameterPoint point, std::span<const th_update> parameters, void *stream);

 private:
  Optimizer() = default;
  Result<> find_evaluation_point();
  std::unique_ptr<PluginInstance> plugin_;
  const th_optimizer_api *api_ = nullptr;
  th_optimizer *self_ = nullptr;
  const th_optimizer_evaluation_point *evaluation_point_ = nullptr;
};

}  // namespace trainhost
