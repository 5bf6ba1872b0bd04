// What the plugin boundary costs: how many calls a training step makes, how long a call takes that does nothing, and what share of the
// step that is. abi_cost RECIPE RUN_DIRECTORY [STEPS]: trains that many steps (default 50) in a fresh directory.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/verbs.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "plugin_host/plugin_call.h"
#include "plugin_host/registry.h"

namespace {

using namespace trainhost;
using Clock = std::chrono::steady_clock;

std::atomic<uint64_t> calls = 0;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

template <class Value>
Value unwrap(Result<Value> result) {
  if (result) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

// The smallest call there is: a schedule that gives one number, with all that the host does around it.
double seconds_of_a_call() {
  constexpr int kCalls = 1'000'000;
  const PluginRegistry registry(PluginRegistry::search_path());
  const Manifest manifest = unwrap(registry.find(PluginKind::kLrScheduler, "constant"));
  Parameters parameters{{"lr", {0.01, true, {}}}, {"warmup", {"0%", true, {}}}};
  check_parameters(manifest, parameters, {});
  Recipe recipe;
  recipe.phases.emplace_back();
  const TokenAxis axis(recipe);
  const auto scheduler = unwrap(LrScheduler::create(unwrap(PluginInstance::create(manifest, parameters, &axis, {})), axis.progress(0)));
  const th_progress progress = axis.progress(1);
  double sum = 0;
  const auto start = Clock::now();
  for (int i = 0; i < kCalls; ++i) sum += scheduler->values(progress)->learning_rate;
  const double seconds = seconds_since(start) / kCalls;
  return sum > 0 ? seconds : 0;
}

// Of the recipe's steps: the median of their seconds.
double seconds_of_a_step(const std::string &run_directory) {
  std::vector<double> seconds;
  std::ifstream log(run_directory + "/log/metrics.jsonl");
  for (std::string line; std::getline(log, line);) {
    const auto report = nlohmann::json::parse(line);
    if (report["kind"] == "step") seconds.push_back(report["seconds"]);
  }
  std::ranges::nth_element(seconds, seconds.begin() + static_cast<ptrdiff_t>(seconds.size() / 2));
  return seconds[seconds.size() / 2];
}

uint64_t calls_of_a_run(const std::string &recipe, const std::string &directory, int steps) {
  std::filesystem::remove_all(directory);
  const uint64_t before = calls;
  // Nothing but steps, and one evaluation and sample at the end, which are in every run alike.
  const RecipeOptions options{.file = recipe,
                              .settings = {"run.directory=" + directory, "metrics.console=false", "phase.stable.until=50%",
                                           "evaluation.every=100%", "checkpoint.every=100%", fmt::format("run.tokens={}", steps * 2048)}};
  if (const auto done = train(options, "", {}); !done) unwrap(Result<int>(tl::unexpected(done.error())));
  return calls - before;
}

}  // namespace

// The linker puts this in the place of the note that the host takes of each call.
extern "C" void __real__ZN9trainhost10PluginCallC1ERKNS_8ManifestEPKci(void *self, const Manifest &manifest, const char *name,
                                                                       int32_t unit);
extern "C" void __wrap__ZN9trainhost10PluginCallC1ERKNS_8ManifestEPKci(void *self, const Manifest &manifest, const char *name,
                                                                       int32_t unit) {
  ++calls;
  __real__ZN9trainhost10PluginCallC1ERKNS_8ManifestEPKci(self, manifest, name, unit);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    std::fprintf(stderr, "abi_cost RECIPE RUN_DIRECTORY [STEPS]\n");
    return 64;
  }
  const int steps = argc > 3 ? std::atoi(argv[3]) : 50;
  const std::string recipe = argv[1], directory = argv[2];
  const uint64_t few = calls_of_a_run(recipe, directory, steps), many = calls_of_a_run(recipe, directory, 2 * steps);
  const double per_step = static_cast<double>(many - few) / steps, step = seconds_of_a_step(directory), call = seconds_of_a_call();
  std::printf("%.1f calls a step, %.0f ns a call, %.3f ms a step: the boundary is %.4f %% of a step\n", per_step, call * 1e9, step * 1e3,
              100 * per_step * call / step);
}
