#include "plugin_host/adapters/optimizer.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "plugin_host/adapters/extension.h"

namespace trainhost {
namespace {

constexpr uint32_t kMostStates = 64;                    // of one parameter: far beyond any optimizer
constexpr uint64_t kMostWorkspace = uint64_t{1} << 50;  // beyond any machine, and far from overflow

std::string_view view(th_string text) { return {text.data != nullptr ? text.data : "", text.data != nullptr ? text.length : 0}; }

std::optional<ElementType> type_of(const th_state_info &info) {
  if (info.dtype_code == TH_DTYPE_FLOAT && info.dtype_bits == 32) return ElementType::kFloat32;
  if (info.dtype_code == TH_DTYPE_BFLOAT && info.dtype_bits == 16) return ElementType::kBfloat16;
  return std::nullopt;
}

std::string mistake_in(const th_state_info &info) {
  if (view(info.name).empty()) return "a state has no name";
  const auto mistake = [&](const std::string &found) { return fmt::format("state \"{}\" {}", view(info.name), found); };
  if (info.rank < -1 || info.rank > 4) return mistake(fmt::format("has rank {}, expected -1 to 4", info.rank));
  if (!type_of(info)) return mistake("is neither float32 nor bfloat16");
  if (!std::isfinite(info.initial)) return mistake(fmt::format("begins with {}", info.initial));
  for (int32_t i = 0; i < info.rank; ++i) {
    if (info.shape[i] <= 0) return mistake(fmt::format("has extent {} in dimension {}", info.shape[i], i));
  }
  return "";
}

OptimizerState to_state(const th_state_info &info) {
  OptimizerState state{.name = std::string(view(info.name)),
                       .like_parameter = info.rank == -1,
                       .shape = {},
                       .initial = info.initial,
                       .type = type_of(info).value()};
  if (info.rank > 0) state.shape.assign(info.shape, info.shape + info.rank);
  return state;
}

}  // namespace

size_t OptimizerState::element_count(size_t parameter_elements) const {
  if (like_parameter) return parameter_elements;
  size_t count = 1;
  for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
  return count;
}

Result<std::unique_ptr<Optimizer>> Optimizer::create(std::unique_ptr<PluginInstance> plugin) {
  std::unique_ptr<Optimizer> optimizer(new Optimizer);
  optimizer->plugin_ = std::move(plugin);
  const PluginInstance &instance = *optimizer->plugin_;
  optimizer->api_ = static_cast<const th_optimizer_api *>(instance.table());
  const PluginCall call(instance.manifest(), "create");
  TRAINHOST_CHECK(instance.check(optimizer->api_->create(instance.host(), instance.config(), &optimizer->self_), "create"));
  if (optimizer->self_ == nullptr) return instance.broken_contract("create", "succeeded without giving an instance");
  if (const int32_t granularity = optimizer->granularity(); granularity < TH_GRANULARITY_ELEMENT || granularity > TH_GRANULARITY_MATRIX) {
    return instance.broken_contract("granularity", fmt::format("gave {}, expected 0 (element), 1 (tensor) or 2 (matrix)", granularity));
  }
  TRAINHOST_CHECK(optimizer->find_evaluation_point());
  return optimizer;
}

Result<> Optimizer::find_evaluation_point() {
  using Table = th_optimizer_evaluation_point;
  const th_optimizer *self = self_;
  TRAINHOST_TRY(evaluation_point_, find_extension(*plugin_, api_, self, TH_EXT_OPTIMIZER_EVALUATION_POINT, &Table::to_training));
  if (evaluation_point_ == nullptr || evaluation_point_->to_evaluation != nullptr) return {};
  return plugin_->broken_contract("get_extension",
                                  "the table of \"" TH_EXT_OPTIMIZER_EVALUATION_POINT "\" has null in the slot to_evaluation");
}

int32_t Optimizer::granularity() const {
  const PluginCall call(manifest(), "granularity");
  return api_->granularity(self_);
}

Optimizer::~Optimizer() {
  if (self_ == nullptr) return;
  const PluginCall call(plugin_->manifest(), "destroy");
  api_->destroy(self_);
}

Result<std::vector<OptimizerState>> Optimizer::describe_states(const th_parameter_info &parameter) const {
  std::vector<th_state_info> infos(kMostStates);
  uint32_t count = 0;
  const PluginCall call(plugin_->manifest(), "describe_states");
  TRAINHOST_CHECK(plugin_->check(api_->describe_states(self_, &parameter, infos.data(), kMostStates, &count), "describe_states"));
  const auto refuse = [&](const std::string &found) {
    return plugin_->broken_contract("describe_states", fmt::format("parameter \"{}\": {}", view(parameter.name), found));
  };
  if (count > kMostStates) return refuse(fmt::format("{} states, at most {} are possible", count, kMostStates));
  std::vector<OptimizerState> states;
  for (const th_state_info &info : std::span(infos).first(count)) {
    if (const std::string mistake = mistake_in(info); !mistake.empty()) return refuse(mistake);
    if (std::ranges::find(states, view(info.name), &OptimizerState::name) != states.end()) {
      return refuse(fmt::format("state \"{}\" is there twice", view(info.name)));
    }
    states.push_back(to_state(info));
  }
  return states;
}

Result<uint64_t> Optimizer::workspace_bytes(std::span<const th_parameter_info *const> parameters) const {
  const auto slot = optional_slot(api_, &th_optimizer_api::workspace);
  if (slot == nullptr) return 0;
  uint64_t bytes = 0;
  const PluginCall call(plugin_->manifest(), "workspace");
  TRAINHOST_CHECK(plugin_->check(slot(self_, parameters.data(), static_cast<uint32_t>(parameters.size()), &bytes), "workspace"));
  if (bytes <= kMostWorkspace) return bytes;
  return plugin_->broken_contract("workspace", fmt::format("asks for {} bytes, at most {} are possible", bytes, kMostWorkspace));
}

Result<> Optimizer::update(const th_update_call &call, std::span<const th_update> updates) {
  const PluginCall in_plugin(plugin_->manifest(), "update");
  return plugin_->check(api_->update(self_, &call, updates.data(), static_cast<uint32_t>(updates.size())), "update");
}

Result<> Optimizer::move_to(ParameterPoint point, std::span<const th_update> parameters, void *stream) {
  const bool training = point == ParameterPoint::kTraining;
  const char *const name = training ? "to_training" : "to_evaluation";
  const auto slot = training ? evaluation_point_->to_training : evaluation_point_->to_evaluation;
  const PluginCall in_plugin(plugin_->manifest(), name);
  return plugin_->check(slot(self_, parameters.data(), static_cast<uint32_t>(parameters.size()), stream), name);
}

}  // namespace trainhost
