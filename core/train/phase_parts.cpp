#include "train/phase_parts.h"

#include <functional>
#include <optional>

#include "plugin_host/refusal.h"

namespace trainhost {
namespace {

// Where a phase's parameters of one plugin come from.
struct Place {
  const Manifest &plugin;
  const PluginChoice &table;
  Parameters Overrides::*overrides;
};

RecipeError refusal_in_phase(const Error &error, const Phase &phase, const Parameters &parameters, const Place &place) {
  const bool changed = !(phase.overrides.*place.overrides).empty();
  RecipeError mistake = refusal_in_recipe(error, place.plugin, parameters, changed ? phase.position : place.table.position);
  if (changed) mistake.message = "phase \"" + phase.name + "\": " + mistake.message;
  return mistake;
}

// One instance per phase, shared with the phase before where nothing is overridden.
template <class Part>
Result<std::vector<std::shared_ptr<Part>>> per_phase(const Recipe &recipe, const Place &place, std::vector<RecipeError> &mistakes,
                                                     const std::function<Result<std::unique_ptr<Part>>(const Parameters &)> &make) {
  std::optional<std::shared_ptr<Part>> plain;
  std::vector<std::shared_ptr<Part>> parts;
  for (const Phase &phase : recipe.phases) {
    const Parameters &changed = phase.overrides.*place.overrides;
    if (changed.empty() && plain) {
      parts.push_back(*plain);
      continue;
    }
    Parameters parameters = place.table.parameters;
    for (const auto &[name, parameter] : changed) parameters[name] = parameter;
    auto made = make(parameters);
    if (!made && made.error().kind != ErrorKind::kRecipe) return tl::unexpected(std::move(made).error());
    if (!made) mistakes.push_back(refusal_in_phase(made.error(), phase, parameters, place));
    parts.push_back(made ? *std::move(made) : nullptr);
    if (changed.empty()) plain = parts.back();
  }
  return parts;
}

}  // namespace

Result<PhaseParts> PhaseParts::create(const Recipe &recipe, const RecipePlugins &plugins, const TokenAxis &axis, const PluginEvents &events,
                                      std::vector<RecipeError> &mistakes) {
  PhaseParts parts;
  TRAINHOST_TRY(parts.optimizers,
                per_phase<Optimizer>(recipe, {plugins.optimizer, recipe.optimizer, &Overrides::optimizer}, mistakes,
                                     [&](const Parameters &parameters) -> Result<std::unique_ptr<Optimizer>> {
                                       TRAINHOST_TRY(auto instance, PluginInstance::create(plugins.optimizer, parameters, &axis, events));
                                       return Optimizer::create(std::move(instance));
                                     }));
  th_progress run = axis.progress(0);
  PluginEvents on_host = events;  // a scheduler computes on the CPU wherever the model does
  on_host.device = &cpu_device();
  TRAINHOST_TRY(parts.schedulers,
                per_phase<LrScheduler>(recipe, {plugins.schedule, recipe.schedule, &Overrides::schedule}, mistakes,
                                       [&](const Parameters &parameters) -> Result<std::unique_ptr<LrScheduler>> {
                                         TRAINHOST_TRY(auto instance, PluginInstance::create(plugins.schedule, parameters, &axis, on_host));
                                         return LrScheduler::create(std::move(instance), run);
                                       }));
  return parts;
}

Result<PhaseParts> PhaseParts::create(const Recipe &recipe, const RecipePlugins &plugins, const TokenAxis &axis,
                                      const PluginEvents &events) {
  std::vector<RecipeError> mistakes;
  TRAINHOST_TRY(PhaseParts parts, create(recipe, plugins, axis, events, mistakes));
  if (!mistakes.empty()) return tl::unexpected(joined(mistakes));
  return parts;
}

Result<uint64_t> PhaseParts::workspace_bytes(std::span<const th_parameter_info *const> parameters) const {
  uint64_t most = 0;
  for (const auto &optimizer : optimizers) {
    TRAINHOST_TRY(const uint64_t bytes, optimizer->workspace_bytes(parameters));
    most = std::max(most, bytes);
  }
  return most;
}

Result<> PhaseParts::check_states(const Recipe &recipe, const Model &model) const {
  for (size_t phase = 1; phase < optimizers.size(); ++phase) {
    if (optimizers[phase] == optimizers.front()) continue;
    for (const th_parameter_info &parameter : model.parameters()) {
      TRAINHOST_TRY(const auto first, optimizers.front()->describe_states(parameter));
      TRAINHOST_TRY(const auto changed, optimizers[phase]->describe_states(parameter));
      if (first == changed) continue;
      return failure(ErrorKind::kRecipe, "phase \"" + recipe.phases[phase].name +
                                             "\": its optimizer parameters need other states than those of phase \"" +
                                             recipe.phases.front().name + "\"; give both phases parameters that keep the same states");
    }
  }
  return {};
}

}  // namespace trainhost
