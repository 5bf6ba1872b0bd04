#include "app/plan_verb.h"

#include <filesystem>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/run_outline.h"
#include "base/file_system.h"
#include "device/cpu_memory.h"
#include "metrics/quantities.h"
#include "plan/schedule_plan.h"
#include "plan/schedule_svg.h"
#include "plan/schedule_text.h"

namespace trainhost {
namespace {

constexpr uint64_t kSchedulePoints = 512;

// What the run computes.
struct Work {
  uint64_t parameters = 0;
  double operations = 0;  // forward and backward, which is twice forward
};

Work work_of(const Model &model, const TokenAxis &axis) {
  Work work;
  for (const th_parameter_info &info : model.parameters()) work.parameters += element_count(info);
  work.operations = 3 * model.forward_flops_per_token() * static_cast<double>(axis.total_tokens());
  return work;
}

Result<MemoryBudget> budget_of(const Recipe &recipe, const PlannedRun &run) {
  if (!run.device.gpu) return memory_budget(recipe, cpu_available_bytes(), run.processes);
  if (recipe.training.memory_bytes > 0) return memory_budget(recipe, 0, 1);
  return failure(ErrorKind::kRecipe, recipe.file +
                                         ": `training.memory`: a run on GPUs is planned within the memory of one of them; say how much "
                                         "that is, for example memory = \"72GiB\" in [training]");
}

void print_table(const MemoryPlan &plan, std::ostream &out) {
  out << fmt::format("\n{:<28}", "of a process at its fullest");
  for (size_t stage = 0; stage < plan.stages.size(); ++stage)
    out << fmt::format(" {:>12}", plan.stages.size() == 1 ? "bytes" : fmt::format("stage {}", stage));
  const auto row = [&](std::string_view name, auto value) {
    out << fmt::format("\n{:<28}", name);
    for (const MemoryPlan::Stage &stage : plan.stages) out << fmt::format(" {:>12}", bytes_text(value(stage)));
  };
  for (size_t i = 0; i < kMemoryParts; ++i) {
    const auto part = static_cast<MemoryPart>(i);
    row(to_string(part), [&](const auto &stage) { return stage.peak.of(part); });
  }
  row("together", [](const auto &stage) { return stage.peak.total(); });
  out << fmt::format("\n{:<28}", "which is");
  for (const MemoryPlan::Stage &stage : plan.stages) out << " " << stage.moment;
  out << "\n";
}

// One entry of each series per point.
nlohmann::ordered_json facts_of(const SchedulePlan &plan) {
  using Json = nlohmann::ordered_json;
  Json phases = Json::array(), steps = Json::array(), tokens = steps, rates = steps, stages = steps, batches = steps, mix;
  for (const auto &phase : plan.phases) {
    phases.push_back({{"name", phase.name},
                      {"first_step", phase.first_step},
                      {"end_step", phase.end_step},
                      {"first_token", phase.first_token},
                      {"end_token", phase.end_token}});
  }
  for (const auto &point : plan.points) {
    steps.push_back(point.step);
    tokens.push_back(point.tokens);
    rates.push_back(point.learning_rate);
    stages.push_back(point.stage);
    batches.push_back(point.batch_tokens);
    for (size_t source = 0; source < plan.sources.size(); ++source) mix[plan.sources[source]].push_back(point.mix[source]);
  }
  return {{"phases", phases}, {"step", steps},    {"tokens", tokens}, {"learning_rate", rates},
          {"stage", stages},  {"batch", batches}, {"mix", mix}};
}

nlohmann::ordered_json facts_of(const MemoryPlan &plan) {
  auto stages = nlohmann::ordered_json::array();
  for (const MemoryPlan::Stage &stage : plan.stages) {
    nlohmann::ordered_json parts;
    for (size_t i = 0; i < kMemoryParts; ++i) parts[identifier_of(static_cast<MemoryPart>(i))] = stage.peak.bytes[i];
    stages.push_back({{"parts", parts}, {"total", stage.peak.total()}, {"moment", stage.moment}});
  }
  return stages;
}

}  // namespace

Result<> print_memory_plan(const CheckedRecipe &checked, const MemoryQuery &query, std::ostream &out) {
  const Recipe &recipe = checked.recipe;
  TRAINHOST_TRY(const uint32_t ranks, StageGroups::data_ranks(query.processes, recipe.parallel.pipeline_stages));
  TRAINHOST_CHECK(check_shares(recipe, ranks));
  TRAINHOST_TRY(const auto outline, RunOutline::create(checked));
  const PlannedRun run = outline->planned(query.processes);
  TRAINHOST_TRY(const MemoryBudget budget, budget_of(recipe, run));
  TRAINHOST_TRY(MemoryChoice choice, choose_memory(run, budget, std::nullopt));
  if (!choice.plan) {
    TRAINHOST_TRY(choice.plan, plan_memory(run, choice.settings));
  }
  const uint32_t recompute = recipe.training.recompute.value_or(choice.settings.recompute);
  const TokenAxis axis(recipe, ranks, choice.settings.micro_batch_tokens);
  const StepShape &first = axis.shape_of_step(0);
  const Work work = work_of(run.model, axis);
  if (query.json) {
    out << nlohmann::ordered_json{{"parameters", work.parameters},   {"tokens", recipe.run.tokens},
                                  {"steps", axis.total_steps()},     {"operations", work.operations},
                                  {"processes", query.processes},    {"sharding", recipe.parallel.sharding},
                                  {"budget", budget.bytes},          {"micro_batch", first.micro_batch_sequences * first.sequence_length},
                                  {"recompute", recompute},          {"model_tells", run.model.tells_memory()},
                                  {"stages", facts_of(*choice.plan)}}
               .dump(2)
        << "\n";
    return {};
  }
  out << fmt::format("{} parameters, {} tokens in {} steps: {:.3g} floating-point operations, recomputation not counted\n",
                     count_text(static_cast<double>(work.parameters)), count_text(static_cast<double>(recipe.run.tokens)),
                     step_text(axis.total_steps()), work.operations)
      << fmt::format("processes: {}, on {} in {}; sharding {}; pipeline stages: {}\n", query.processes, run.device.gpu ? "GPUs" : "CPUs",
                     run.device.bfloat16 ? "bf16" : "fp32", recipe.parallel.sharding, choice.plan->stages.size())
      << describe(recipe, choice, budget) << "\n";
  if (!run.model.tells_memory()) out << "without what the units of the model keep and take\n";
  print_table(*choice.plan, out);
  return {};
}

Result<> print_schedule_plan(const CheckedRecipe &checked, const ScheduleQuery &query, std::ostream &out) {
  const Recipe &recipe = checked.recipe;
  const TokenAxis axis(recipe);
  TRAINHOST_TRY(const PhaseParts parts, PhaseParts::create(recipe, checked.plugins, axis, {}));
  TRAINHOST_TRY(const SchedulePlan plan, plan_schedule(recipe, axis, parts, kSchedulePoints));
  if (!query.svg.empty()) {
    const std::string title =
        fmt::format("{}: {} tokens in {} steps, schedule {}", std::filesystem::path(recipe.file).filename().string(),
                    count_text(static_cast<double>(axis.total_tokens())), step_text(axis.total_steps()), checked.plugins.schedule.name);
    TRAINHOST_CHECK(write_atomically(posix_file_system(), query.svg, schedule_svg(plan, title)));
  }
  if (query.json)
    out << facts_of(plan).dump(2) << "\n";
  else
    out << schedule_text(plan, query.blocks);
  return {};
}

}  // namespace trainhost
