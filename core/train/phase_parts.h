// Optimizer and learning-rate scheduler of each phase: instances hold parameters only, so a phase that overrides one has its own.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "plugin_host/adapters/model.h"
#include "plugin_host/adapters/optimizer.h"
#include "plugin_host/registry.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"

namespace trainhost {

struct PhaseParts {
  // One entry per phase; phases without an override share an instance.
  std::vector<std::shared_ptr<Optimizer>> optimizers;
  std::vector<std::shared_ptr<LrScheduler>> schedulers;

  // Errors: what the plugins refuse (kRecipe), all of it, each with its place in the recipe; else a plugin's failure.
  static Result<PhaseParts> create(const Recipe &recipe, const RecipePlugins &plugins, const TokenAxis &axis, const PluginEvents &events);
  // Likewise, but refusals are added to `mistakes`; what was refused is then null.
  static Result<PhaseParts> create(const Recipe &recipe, const RecipePlugins &plugins, const TokenAxis &axis, const PluginEvents &events,
                                   std::vector<RecipeError> &mistakes);

  // The most that any phase's optimizer needs for itself while it updates these parameters.
  Result<uint64_t> workspace_bytes(std::span<const th_parameter_info *const> parameters) const;

  // All optimizers work on the states that the first one describes; kRecipe names a phase whose overrides would need others.
  Result<> check_states(const Recipe &recipe, const Model &model) const;
};

}  // namespace trainhost
