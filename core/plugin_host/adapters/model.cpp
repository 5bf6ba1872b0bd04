#include "plugin_host/adapters/model.h"

#include <cmath>
#include <set>

#include <fmt/format.h>

#include "plugin_host/adapters/extension.h"
#include "plugin_host/plugin_call.h"

namespace trainhost {
namespace {

constexpr uint32_t kMost = 1 << 20;  // parameters or units: far beyond any model

std::string_view view(th_string text) { return {text.data != nullptr ? text.data : "", text.data != nullptr ? text.length : 0}; }

std::string mistake_in(const th_parameter_info &info) {
  if (view(info.name).empty()) return "has no name";
  if (info.role < TH_ROLE_MATRIX || info.role > TH_ROLE_BIAS)
    return fmt::format("has role {}, expected {} to {}", info.role, TH_ROLE_MATRIX, TH_ROLE_BIAS);
  if (info.rank < 1 || info.rank > 4) return fmt::format("has rank {}, expected 1 to 4", info.rank);
  for (int32_t i = 0; i < info.rank; ++i) {
    if (info.shape[i] <= 0) return fmt::format("has extent {} in dimension {}", info.shape[i], i);
  }
  if (!std::isfinite(info.init_mean) || !std::isfinite(info.init_std) || info.init_std < 0) {
    return fmt::format("begins with mean {} and deviation {}", info.init_mean, info.init_std);
  }
  if (!std::isfinite(info.lr_scale) || info.lr_scale < 0) return fmt::format("has lr_scale {}", info.lr_scale);
  return "";
}

std::string mistake_in(const th_unit_info &info, uint32_t unit, uint32_t unit_count, size_t parameter_count) {
  if (view(info.name).empty()) return "has no name";
  const bool last = unit + 1 == unit_count;
  if (last != (info.output_width == 0))
    return fmt::format("has output_width {}, expected {}", info.output_width, last ? "0 for the last unit" : "at least 1");
  if (info.parameter_count > 0 && info.parameters == nullptr)
    return fmt::format("has {} parameters, but null for their list", info.parameter_count);
  std::set<uint32_t> seen;
  for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
    if (index >= parameter_count) return fmt::format("lists parameter {}, there are {}", index, parameter_count);
    if (!seen.insert(index).second) return fmt::format("lists parameter {} twice", index);
  }
  return "";
}

// Names that are there twice, of parameters or units.
template <class Info>
std::string repeated_name(const std::vector<Info> &infos) {
  std::set<std::string_view> names;
  for (const Info &info : infos) {
    if (!names.insert(view(info.name)).second) return std::string(view(info.name));
  }
  return "";
}

Result<std::vector<th_parameter_info>> describe_parameters(const PluginInstance &plugin, const th_model_api *api, const th_model *self) {
  const uint32_t count = [&] {
    const PluginCall call(plugin.manifest(), "parameter_count");
    return api->parameter_count(self);
  }();
  if (count > kMost) return plugin.broken_contract("parameter_count", fmt::format("gave {}, expected at most {}", count, kMost));
  std::vector<th_parameter_info> infos(count);
  const PluginCall call(plugin.manifest(), "parameter_info");
  for (uint32_t i = 0; i < infos.size(); ++i) {
    infos[i].struct_size = sizeof(th_parameter_info);
    TRAINHOST_CHECK(plugin.check(api->parameter_info(self, i, &infos[i]), "parameter_info"));
    if (const std::string mistake = mistake_in(infos[i]); !mistake.empty()) {
      return plugin.broken_contract("parameter_info", fmt::format("parameter {} \"{}\" {}", i, view(infos[i].name), mistake));
    }
  }
  if (const std::string name = repeated_name(infos); !name.empty()) {
    return plugin.broken_contract("parameter_info", fmt::format("parameter \"{}\" is there twice", name));
  }
  return infos;
}

Result<std::vector<th_unit_info>> describe_units(const PluginInstance &plugin, const th_model_api *api, const th_model *self,
                                                 const std::vector<th_parameter_info> &parameters) {
  const uint32_t count = [&] {
    const PluginCall call(plugin.manifest(), "unit_count");
    return api->unit_count(self);
  }();
  if (count < 2 || count > kMost) return plugin.broken_contract("unit_count", fmt::format("gave {}, expected 2 to {}", count, kMost));
  std::vector<th_unit_info> infos(count);
  std::set<uint32_t> used;
  for (uint32_t unit = 0; unit < count; ++unit) {
    th_unit_info &info = infos[unit];
    info.struct_size = sizeof(th_unit_info);
    const PluginCall call(plugin.manifest(), "unit_info", static_cast<int32_t>(unit));
    TRAINHOST_CHECK(plugin.check(api->unit_info(self, unit, &info), "unit_info"));
    if (const std::string mistake = mistake_in(info, unit, count, parameters.size()); !mistake.empty()) {
      return plugin.broken_contract("unit_info", fmt::format("unit {} \"{}\" {}", unit, view(info.name), mistake));
    }
    used.insert(info.parameters, info.parameters + info.parameter_count);
  }
  if (const std::string name = repeated_name(infos); !name.empty()) {
    return plugin.broken_contract("unit_info", fmt::format("unit \"{}\" is there twice", name));
  }
  for (uint32_t i = 0; i < parameters.size(); ++i) {
    if (!used.contains(i))
      return plugin.broken_contract("unit_info", fmt::format("parameter \"{}\" is in no unit", view(parameters[i].name)));
  }
  return infos;
}

}  // namespace

Result<std::unique_ptr<Model>> Model::create(std::unique_ptr<PluginInstance> plugin, const th_model_options &options) {
  std::unique_ptr<Model> model(new Model);
  model->plugin_ = std::move(plugin);
  const PluginInstance &instance = *model->plugin_;
  const auto *api = static_cast<const th_model_api *>(instance.table());
  model->api_ = api;
  const PluginCall call(instance.manifest(), "create");
  TRAINHOST_CHECK(instance.check(api->create(instance.host(), instance.config(), &options, &model->self_), "create"));
  const th_model *self = model->self_;
  if (self == nullptr) return instance.broken_contract("create", "succeeded without giving an instance");
  TRAINHOST_TRY(model->parameters_, describe_parameters(instance, api, self));
  TRAINHOST_TRY(model->units_, describe_units(instance, api, self, model->parameters_));
  TRAINHOST_TRY(model->logits_, find_extension(instance, api, self, TH_EXT_MODEL_LOGITS, &th_model_logits::logits));
  TRAINHOST_TRY(model->peak_, find_extension(instance, api, self, TH_EXT_MODEL_PEAK, &th_model_peak::measure));
  TRAINHOST_TRY(model->memory_, find_extension(instance, api, self, TH_EXT_MODEL_MEMORY, &th_model_memory::unit_memory));
  return model;
}

Model::~Model() {
  if (self_ == nullptr) return;
  const PluginCall call(plugin_->manifest(), "destroy");
  api_->destroy(self_);
}

double Model::forward_flops_per_token() const {
  double flops = 0;
  for (const th_unit_info &unit : units_) flops += unit.forward_flops_per_token;
  return flops;
}

uint64_t Model::parameters_without_embeddings() const {
  uint64_t count = 0;
  for (const th_parameter_info &info : parameters_) {
    if (info.role == TH_ROLE_EMBEDDING || info.role == TH_ROLE_HEAD) continue;
    uint64_t elements = 1;
    for (int32_t i = 0; i < info.rank; ++i) elements *= static_cast<uint64_t>(info.shape[i]);
    count += elements;
  }
  return count;
}

Result<> Model::check(th_status status, std::string_view call, uint32_t unit) const {
  if (status == TH_OK) return plugin_->check(status, call);
  return plugin_->check(status, fmt::format("{} of unit {} \"{}\"", call, unit, view(units_[unit].name)));
}

Result<th_saved *> Model::forward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters,
                                  const th_tensor &input, th_tensor &output) {
  th_saved *saved = nullptr;
  const PluginCall in_plugin(plugin_->manifest(), "forward", static_cast<int32_t>(unit));
  TRAINHOST_CHECK(check(api_->forward(self_, unit, &call, &batch, parameters, &input, &output, &saved), "forward", unit));
  if (saved != nullptr && (call.training == 0 || call.keep == 0)) {
    release(saved);
    return plugin_->broken_contract(fmt::format("forward of unit {} \"{}\"", unit, view(units_[unit].name)),
                                    "keeps something, though nothing was to be kept");
  }
  return saved;
}

Result<> Model::backward(uint32_t unit, const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                         th_saved *saved, const th_tensor &output_gradient, th_tensor &input_gradient, th_tensor *parameter_gradients,
                         const uint32_t *gradient_modes) {
  const PluginCall in_plugin(plugin_->manifest(), "backward", static_cast<int32_t>(unit));
  return check(api_->backward(self_, unit, &call, &batch, parameters, &input, saved, &output_gradient, &input_gradient, parameter_gradients,
                              gradient_modes),
               "backward", unit);
}

void Model::release(th_saved *saved) {
  if (saved == nullptr) return;
  const PluginCall call(plugin_->manifest(), "release");
  api_->release(self_, saved);
}

Result<> Model::loss_and_backward(const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                                  th_tensor &loss, th_tensor &input_gradient, th_tensor *parameter_gradients,
                                  const uint32_t *gradient_modes) {
  const auto last = static_cast<uint32_t>(units_.size() - 1);
  if (const auto slot = optional_slot(api_, &th_model_api::loss_and_backward); slot != nullptr) {
    const PluginCall in_plugin(plugin_->manifest(), "loss_and_backward", static_cast<int32_t>(last));
    return check(slot(self_, &call, &batch, parameters, &input, &loss, &input_gradient, parameter_gradients, gradient_modes),
                 "loss_and_backward", last);
  }
  TRAINHOST_TRY(th_saved * saved, forward(last, call, batch, parameters, input, loss));
  th_tensor one = loss;  // the gradient of the loss by itself is 1, which no data stands for
  one.data = nullptr;
  return backward(last, call, batch, parameters, input, saved, one, input_gradient, parameter_gradients, gradient_modes);
}

Result<> Model::logits(const th_call &call, const th_batch &batch, const th_tensor *parameters, const th_tensor &input,
                       std::span<const int32_t> rows, th_tensor &output) {
  if (logits_ == nullptr) {
    return failure(ErrorKind::kPlugin,
                   describe(manifest()) + ": gives no logits (extension \"" TH_EXT_MODEL_LOGITS "\"), so it cannot write text");
  }
  const PluginCall in_plugin(plugin_->manifest(), "logits");
  return plugin_->check(logits_->logits(self_, &call, &batch, parameters, &input, rows.data(), static_cast<uint32_t>(rows.size()), &output),
                        "logits");
}

Result<Model::UnitMemory> Model::unit_memory(uint32_t unit, bool training, bool keep, uint32_t sequences, uint32_t sequence_length) const {
  th_call call{};
  call.struct_size = sizeof call;
  call.training = training ? 1 : 0;
  call.keep = keep ? 1 : 0;
  th_unit_memory use{};
  use.struct_size = sizeof use;
  const PluginCall in_plugin(plugin_->manifest(), "unit_memory", static_cast<int32_t>(unit));
  TRAINHOST_CHECK(check(memory_->unit_memory(self_, unit, &call, sequences, sequence_length, &use), "unit_memory", unit));
  return UnitMemory{.saved = use.saved, .forward = use.forward, .backward = use.backward};
}

Result<double> Model::measure_peak() {
  double peak = 0;
  if (peak_ == nullptr) return peak;
  const PluginCall call(plugin_->manifest(), "measure");
  TRAINHOST_CHECK(plugin_->check(peak_->measure(self_, &peak), "measure"));
  if (!std::isfinite(peak) || peak < 0) return plugin_->broken_contract("measure", fmt::format("gave {} operations per second", peak));
  return peak;
}

}  // namespace trainhost
