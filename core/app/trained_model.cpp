#include "app/trained_model.h"

#include <filesystem>

#include <fmt/format.h>

#include "app/assemble_run.h"
#include "app/check_recipe.h"
#include "checkpoint/checkpoint.h"

namespace trainhost {
namespace {

Result<uint64_t> restore(const std::string &run_directory, std::optional<uint64_t> step, std::span<NamedTensor> tensors) {
  TRAINHOST_TRY(const auto checkpoints, CheckpointDirectory::view(posix_file_system(), run_directory + "/checkpoints"));
  if (!step) {
    TRAINHOST_TRY(const auto newest, checkpoints.load_newest(tensors, {}, LoadScope::kModel));
    if (!newest) return failure(ErrorKind::kData, run_directory + "/checkpoints: there is no checkpoint yet");
    return newest->step;
  }
  TRAINHOST_TRY(const auto saved, checkpoints.list());
  for (const CheckpointInfo &info : saved) {
    if (info.step != *step) continue;
    TRAINHOST_CHECK(checkpoints.load(info.path, tensors, {}, LoadScope::kModel));
    return *step;
  }
  return failure(ErrorKind::kUsage, fmt::format("{}/checkpoints: there is none of step {}; trainhost checkpoints --run {} lists them",
                                                run_directory, *step, run_directory));
}

}  // namespace

Result<std::unique_ptr<TrainedModel>> TrainedModel::load(const std::string &run_directory, std::optional<uint64_t> step,
                                                         const PluginEvents &events) {
  const std::string recipe_file = run_directory + "/recipe.toml";
  if (!posix_file_system().exists(recipe_file)) {
    return failure(ErrorKind::kUsage, fmt::format("{}: is no run directory: it has no recipe.toml", run_directory));
  }
  std::unique_ptr<TrainedModel> trained(new TrainedModel);
  TRAINHOST_TRY(trained->checked_, check_recipe(recipe_file, {}));
  const RecipePlugins &plugins = trained->checked_.plugins;
  const Recipe &recipe = trained->checked_.recipe;
  trained->axis_.emplace(recipe);
  const TokenAxis *axis = &*trained->axis_;

  TRAINHOST_TRY(const std::string state, posix_file_system().read(run_directory + "/tokenizer.state"));
  TRAINHOST_TRY(auto tokenizer_instance, PluginInstance::create(plugins.tokenizer, recipe.tokenizer.parameters, axis, events));
  TRAINHOST_TRY(trained->tokenizer_, Tokenizer::create(std::move(tokenizer_instance), state));
  TRAINHOST_TRY(auto model_instance, PluginInstance::create(plugins.model, recipe.model.parameters, axis, events));
  TRAINHOST_TRY(trained->model_, Model::create(std::move(model_instance), model_options(*axis, trained->tokenizer_->vocabulary_size())));
  TRAINHOST_TRY(trained->parameters_, ParameterStore::create(*trained->model_, nullptr, unspread(*trained->model_, *trained->process_)));
  auto tensors = trained->parameters_->tensors_to_load();
  TRAINHOST_TRY(trained->step_, restore(run_directory, step, tensors));
  trained->parameters_->loaded();
  trained->runner_.emplace(
      ModelRunner::Parts{.model = *trained->model_, .parameters = *trained->parameters_, .gradients = nullptr, .recomputed = {}});
  return trained;
}

}  // namespace trainhost
