#include "plugin_host/instance.h"

#include <atomic>
#include <thread>

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
  recipe.training.batch = Batch::constant(1000);
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

Result<ScheduleValues> values_at(const LrScheduler &scheduler, uint64_t step) {
  th_progress progress{};
  progress.struct_size = sizeof progress;
  progress.step = step;
  return scheduler.values(progress);
}

// What the plugin shows at that step; see tests/fixtures/plugins/mirror.cpp.
double shown(const LrScheduler &scheduler, uint64_t step) {
  const auto values = values_at(scheduler, step);
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

TEST(Instance, ThatAsksForAParameterItsManifestLacksFails) {
  const std::string subject = "lr_scheduler plugin \"mirror\" 1.2.3 (" + fixture_plugin("mirror") + "): create: ";
  const auto unknown = mirror(labelled("wrong name"));
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, subject + "its manifest has no number parameter \"nothing\"");
  EXPECT_EQ(unknown.error().kind, ErrorKind::kPlugin);
  const auto other_type = mirror(labelled("wrong type"));
  ASSERT_FALSE(other_type);
  EXPECT_EQ(other_type.error().message, subject + "its manifest has no string parameter \"count\"");
}

TEST(Instance, WithAnAmountNeedsATokenAxis) {
  const Manifest manifest = *read_manifest(fixture_plugin("mirror"));
  Parameters parameters = labelled("a");
  ASSERT_TRUE(check_parameters(manifest, parameters, {}).empty());
  const auto plugin = PluginInstance::create(manifest, parameters, nullptr, {});
  ASSERT_FALSE(plugin);
  EXPECT_EQ(plugin.error().message, "lr_scheduler plugin \"mirror\" 1.2.3 (" + fixture_plugin("mirror") +
                                        "): parameter \"length\" = \"10%\": there is no token axis to place it on");
}

TEST(Instance, ResolvesAmountsInStrings) {
  const Manifest manifest = *read_manifest(fixture_plugin("mirror"));
  Parameters parameters = labelled("a");
  ASSERT_TRUE(check_parameters(manifest, parameters, {}).empty());
  const TokenAxis token_axis = axis();
  const auto on_axis = *PluginInstance::create(manifest, parameters, &token_axis, {});
  const auto resolved = [](const PluginInstance &instance, const std::string &text) {
    double tokens = -1;
    const th_status status = instance.host()->resolve_amount(instance.config(), {text.data(), text.size()}, &tokens);
    const auto checked = instance.check(status, "create");
    return checked ? std::to_string(tokens) : checked.error().message.substr(checked.error().message.find("create: "));
  };
  EXPECT_EQ(resolved(*on_axis, "2%"), "20000.000000");
  EXPECT_EQ(resolved(*on_axis, "25 steps"), "25000.000000");
  EXPECT_EQ(resolved(*on_axis, "3k tokens"), "3000.000000");
  EXPECT_EQ(resolved(*on_axis, "soon"), "create: expected an amount such as \"500 steps\", \"2M tokens\" or \"10%\", found \"soon\"");
  parameters.erase("length");
  const auto without = *PluginInstance::create(manifest, parameters, nullptr, {});
  EXPECT_EQ(resolved(*without, "2%"), "create: there is no token axis to place \"2%\" on");
}

TEST(HostServices, ReachTheRun) {
  std::vector<std::string> said;
  std::atomic<bool> cancelled = false;
  PluginEvents events;
  events.metric = [&](std::string_view name, double value) { said.push_back(std::string(name) + " " + std::to_string(value)); };
  events.progress = [&](std::string_view what, uint64_t done, uint64_t total) {
    said.push_back(std::string(what) + " " + std::to_string(done) + "/" + std::to_string(total));
  };
  events.cancelled = &cancelled;
  testing::internal::CaptureStderr();
  const auto scheduler = mirror(labelled("loud"), events);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "warning: mirror: label is loud\n");
  ASSERT_TRUE(scheduler);
  EXPECT_EQ(said, (std::vector<std::string>{"mirror/made 1.000000", "making 1/2"}));
  EXPECT_EQ(shown(**scheduler, 6), 0);
  cancelled = true;
  EXPECT_EQ(shown(**scheduler, 6), 1);
}

TEST(HostServices, WorkTogether) {
  const auto scheduler = mirror(labelled("a"));
  ASSERT_TRUE(scheduler);
  EXPECT_EQ(shown(**scheduler, 7), 1000) << "each index of parallel_for once";
  float expected = 0;
  fill_uniform(7, 3, 5, std::span(&expected, 1));
  EXPECT_EQ(shown(**scheduler, 8), expected);
  EXPECT_EQ(shown(**scheduler, 9), 1) << "unknown extensions are null";
  EXPECT_EQ(shown(**scheduler, 10), 1) << "alignment";
}

TEST(HostServices, RefuseMemoryThatCannotBe) {
  const auto scheduler = mirror(labelled("a"));
  ASSERT_TRUE(scheduler);
  EXPECT_EQ(values_at(**scheduler, 11).error().message,
            "lr_scheduler plugin \"mirror\" 1.2.3 (" + fixture_plugin("mirror") + "): values: out of memory");
}

TEST(HostServices, SayWhenMemoryWasNotGivenBack) {
  auto scheduler = mirror(labelled("a"));
  ASSERT_TRUE(scheduler);
  EXPECT_EQ(shown(**scheduler, 12), 0);
  testing::internal::CaptureStderr();
  scheduler->reset();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "warning: mirror: ended with 1024 bytes not given back\n");
}

TEST(HostServices, AreOneThreadsOwnWhenCallsFail) {
  const auto scheduler = mirror(labelled("a"));
  ASSERT_TRUE(scheduler);
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 200; ++round) {
        const auto values = values_at(**scheduler, i % 2 == 0 ? 11 : 0);
        right += i % 2 == 0 ? !values && values.error().message.ends_with("values: out of memory") : values && values->learning_rate == 3;
      }
    });
  }
  for (auto &thread : threads) thread.join();
  EXPECT_EQ(right, 800);
}

}  // namespace
}  // namespace trainhost
