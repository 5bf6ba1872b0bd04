// Optimizer and learning-rate scheduler of each phase: instances hold parameters only, so a phase that overrides one has its own.
#pragma once

#include <memory>
#include <vector>

#include "base/status.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "plugin_host/adapters/optimizer.h"
#include "plugin_host/registry.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"

namespace trainhost {

struct PhaseParts {
  // One entry per phase; phases without an override share an instance.
  std::vector<std::shared_ptr<Optimizer>> optimizers;
  std::vector<std::shared_ptr<LrScheduler>> schedulers;

  // Errors: a plugin's refusal (kRecipe), naming the phase.
  static Result<PhaseParts> create(const Recipe &recipe, const RecipePlugins &plugins, const TokenAxis &axis, const PluginEvents &events);
};

}  // namespace trainhost
