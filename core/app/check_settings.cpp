#include "app/check_settings.h"

#include <algorithm>

#include "plugin_host/plugin_call.h"
#include "plugin_host/refusal.h"
#include "train/phase_parts.h"

namespace trainhost {
namespace {

using Mistakes = std::vector<RecipeError>;

constexpr uint64_t kStepsOfAPhase = 256;

// The first learning rate of the phase that the scheduler cannot give; a long phase is only asked here and there.
Result<> check_rates(const TokenAxis &axis, const PhaseSpan &span, const LrScheduler &scheduler) {
  const uint64_t steps = span.end_step - span.first_step, asked = std::min(steps, kStepsOfAPhase);
  for (uint64_t i = 0; i < asked; ++i) {
    const uint64_t step = span.first_step + (asked == 1 ? 0 : i * (steps - 1) / (asked - 1));
    const PluginStep here(step);
    TRAINHOST_CHECK(scheduler.values(axis.progress(step)));
  }
  return {};
}

Result<> add_mistakes(const Recipe &recipe, const RecipePlugins &plugins, Mistakes &mistakes) {
  const TokenAxis axis(recipe);
  TRAINHOST_TRY(const PhaseParts parts, PhaseParts::create(recipe, plugins, axis, {}, mistakes));
  for (size_t i = 0; i < recipe.phases.size(); ++i) {
    if (parts.schedulers[i] == nullptr) continue;
    const auto rates = check_rates(axis, axis.phases()[i], *parts.schedulers[i]);
    if (rates) continue;
    if (rates.error().kind != ErrorKind::kPlugin) return rates;
    const Position &table = recipe.phases[i].overrides.schedule.empty() ? recipe.schedule.position : recipe.phases[i].position;
    mistakes.push_back({table, "phase \"" + recipe.phases[i].name + "\": " + rates.error().message});
  }
  return {};
}

Result<> add_mistakes_of_mixer(const Recipe &recipe, const Manifest &plugin, Mistakes &mistakes) {
  const TokenAxis axis(recipe);
  std::vector<MixerSource> sources;
  for (const Source &source : recipe.sources) sources.push_back({source.name, source.language, source.quality, recipe.run.tokens});
  TRAINHOST_TRY(auto instance, PluginInstance::create(plugin, recipe.mixer.parameters, &axis, {}));
  const auto mixer = DatasetMixer::create(std::move(instance), sources, recipe.run.seed);
  if (mixer) return {};
  if (mixer.error().kind != ErrorKind::kRecipe) return tl::unexpected(mixer.error());
  mistakes.push_back(refusal_in_recipe(mixer.error(), plugin, recipe.mixer.parameters, recipe.mixer.position));
  return {};
}

// A branch shares most of its recipe, and so of its mistakes, with the trunk.
void add_new(const Mistakes &of_branch, const std::string &branch, Mistakes &mistakes) {
  const size_t of_trunk = mistakes.size();
  for (const RecipeError &mistake : of_branch) {
    const auto same = [&](const RecipeError &other) { return other.position == mistake.position && other.message == mistake.message; };
    if (std::any_of(mistakes.begin(), mistakes.begin() + static_cast<ptrdiff_t>(of_trunk), same)) continue;
    mistakes.push_back({mistake.position, "branch \"" + branch + "\": " + mistake.message});
  }
}

}  // namespace

Result<> check_settings(const CheckedRecipe &checked) {
  const Recipe &recipe = checked.recipe;
  Mistakes mistakes;
  TRAINHOST_CHECK(add_mistakes(recipe, checked.plugins, mistakes));
  TRAINHOST_CHECK(add_mistakes_of_mixer(recipe, checked.plugins.mixer, mistakes));
  for (const Branch &branch : recipe.branches) {
    Mistakes of_branch;
    TRAINHOST_CHECK(add_mistakes(branch_recipe(recipe, branch), checked.plugins, of_branch));
    add_new(of_branch, branch.name, mistakes);
  }
  if (mistakes.empty()) return {};
  std::ranges::stable_sort(mistakes, {}, &RecipeError::position);
  return tl::unexpected(joined(mistakes));
}

}  // namespace trainhost
