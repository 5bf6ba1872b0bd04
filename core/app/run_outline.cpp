#include "app/run_outline.h"

#include <algorithm>

#include <fmt/format.h>

#include "app/assemble_run.h"
#include "base/log.h"
#include "collectives/agreement.h"
#include "device/cpu_memory.h"
#include "plugin_host/adapters/tokenizer.h"

namespace trainhost {
namespace {

// The parameter `vocabulary_size` of a tokenizer that is trained, or what one without a state says itself.
Result<uint32_t> vocabulary_without_data(const CheckedRecipe &checked) {
  const Parameters &parameters = checked.recipe.tokenizer.parameters;
  if (const auto given = parameters.find("vocabulary_size"); given != parameters.end()) {
    if (const auto *size = std::get_if<int64_t>(&given->second.value)) return static_cast<uint32_t>(*size);
  }
  TRAINHOST_TRY(auto instance, PluginInstance::create(checked.plugins.tokenizer, parameters, nullptr, {}));
  TRAINHOST_TRY(const bool trainable, Tokenizer::is_trainable(*instance));
  const auto tokenizer = Tokenizer::create(std::move(instance), "");
  if (tokenizer) return (*tokenizer)->vocabulary_size();
  const Error &error = tokenizer.error();
  if (!trainable || error.kind == ErrorKind::kPluginContract) return tl::unexpected(error);
  return failure(
      ErrorKind::kRecipe,
      fmt::format("tokenizer \"{}\" has no parameter vocabulary_size, and does not tell its vocabulary before it has seen the text: {}",
                  checked.plugins.tokenizer.name, error.message));
}

Result<MemoryChoice> choose(const CheckedRecipe &checked, uint32_t processes, const MemoryBudget &budget,
                            const std::optional<MemorySettings> &recorded) {
  TRAINHOST_TRY(const auto outline, RunOutline::create(checked));
  return choose_memory(outline->planned(processes), budget, recorded);
}

}  // namespace

Result<OutlinedModel> outline_model(const CheckedRecipe &checked, const TokenAxis &axis) {
  OutlinedModel outlined;
  TRAINHOST_TRY(outlined.vocabulary_size, vocabulary_without_data(checked));
  TRAINHOST_TRY(auto instance, PluginInstance::create(checked.plugins.model, checked.recipe.model.parameters, &axis, {}));
  const PlannedDevice device = planned_device(checked.recipe);
  th_model_options options = model_options(axis, outlined.vocabulary_size, {.bfloat16 = device.bfloat16});
  options.outline = 1;
  if (device.gpu) options.device_type = TH_DEVICE_CUDA;
  TRAINHOST_TRY(outlined.model, Model::create(std::move(instance), options));
  return outlined;
}

Result<std::unique_ptr<RunOutline>> RunOutline::create(const CheckedRecipe &checked) {
  std::unique_ptr<RunOutline> outline(new RunOutline(checked));
  TRAINHOST_TRY(outline->phases_, PhaseParts::create(checked.recipe, checked.plugins, outline->axis_, {}));
  TRAINHOST_TRY(outline->outlined_, outline_model(checked, outline->axis_));
  return outline;
}

PlannedDevice planned_device(const Recipe &recipe) {
  const bool gpu = recipe.run.device == "cuda" || (recipe.run.device == "auto" && cuda_is_there());
  return {.gpu = gpu, .bfloat16 = recipe.run.precision == "bf16" || (recipe.run.precision == "auto" && gpu)};
}

MemoryBudget memory_budget(const Recipe &recipe, uint64_t available, uint32_t shared_by) {
  if (recipe.training.memory_bytes > 0) return {.bytes = recipe.training.memory_bytes, .given = true};
  return {.bytes = available / 10 * 9 / shared_by, .given = false};
}

std::string memory_record(const Recipe &recipe) { return recipe.run.directory + "/memory.json"; }

Result<MemorySettings> decide_memory(const CheckedRecipe &checked, const Device *gpu, Processes &processes) {
  const Recipe &recipe = checked.recipe;
  ProcessGroup &world = processes.world();
  MemoryBudget budget = gpu != nullptr ? memory_budget(recipe, gpu->available_bytes(), 1)
                                       : memory_budget(recipe, cpu_available_bytes(), processes.on_this_machine());
  const double own = static_cast<double>(budget.bytes);
  TRAINHOST_TRY(const auto budgets, world.gather(std::span(&own, 1)));
  budget.bytes = static_cast<uint64_t>(*std::ranges::min_element(budgets));
  std::string record;
  if (processes.first() && posix_file_system().exists(memory_record(recipe)))
    record = posix_file_system().read(memory_record(recipe)).value_or("");
  TRAINHOST_TRY(const auto records, world.gather(record));
  const auto recorded = memory_settings_from_json(records.front());

  auto choice = choose(checked, world.size(), budget, recorded);
  TRAINHOST_CHECK(agreed(world, choice ? Result<>() : tl::unexpected(choice.error())));
  if (!processes.first()) return choice->settings;
  log_info(describe(recipe, *choice, budget));
  if (recorded && *recorded != choice->settings)
    log_warning("what this run had before does not fit any more, so its sums are cut in another way");
  return choice->settings;
}

}  // namespace trainhost
