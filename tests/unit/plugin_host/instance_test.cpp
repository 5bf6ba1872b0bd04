#include "plugin_host/instance.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "support/fixture_plugin.h"

namespace trainhost {
namespace {

// A run of 1000 steps of 1000 tokens.
TokenAxis axis() {
  Recipe recipe;
  recipe.run.tokens = 1'000'000;
  recipe.training.batch_tokens = 1000;
  recipe.packing.sequence_length = 100;
  recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
  return TokenAxis(recipe);
}

Result<std::unique_ptr<LrScheduler>> mirror(Parameters parameters, const PluginEvents &events = {}) {
  TRAINHOST_TRY(const Manifest manifest, read_manifest(fixture_plugin("mirror")));
  const auto errors = check_parameters(manifest, parameters, {});
  if (!errors.empty()) return failure(ErrorKind::kRecipe, errors.front().message);
  const TokenAxis token_axis = axis();
  TRAINHOST_TRY(auto plugin, PluginInstance::create(manifest, parameters, &token_axis, events));
  return LrScheduler::create(std::move(plugin), token_axis.progress(0));
}

double shown(const LrScheduler &scheduler, uint64_t step) {
  th_progress progress{};
  progress.struct_size = sizeof progress;
  progress.step = step;
  const auto values = scheduler.values(progress);
  return values ? values->learning_rate : -1;
}

Parameters labelled(const std::string &label) { return {{"label", {label, true, {}}}}; }

TEST(Instance, IsGivenDefaultsAndAmountsInTokens) {
  const auto scheduler = mirror(labelled("a"));
  ASSERT_TRUE(scheduler) << scheduler.error().message;
  const double expected[] = {3, 1, 0.5, 1, 0, 100'000};
  for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(shown(**scheduler, i), expected[i]) << i;
}

TEST(Instance, IsGivenWhatTheRecipeSays) {
  Parameters parameters = labelled("a");
  parameters["count"] = {int64_t{10}, true, {}};
  parameters["rate"] = {int64_t{2}, true, {}};
  parameters["fraction"] = {1.0, true, {}};
  parameters["enabled"] = {false, true, {}};
  parameters["shape"] = {"cosine", true, {}};
  parameters["length"] = {"25 steps", true, {}};
  const auto scheduler = mirror(parameters);
  ASSERT_TRUE(scheduler) << scheduler.error().message;
  const double expected[] = {10, 2, 1, 0, 1, 25'000};
  for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(shown(**scheduler, i), expected[i]) << i;
}

}  // namespace
}  // namespace trainhost
