#include "app/deepen_verb.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/assemble_run.h"
#include "app/made_run.h"
#include "base/hash.h"
#include "checkpoint/checkpoint_name.h"
#include "checkpoint/manifest_format.h"
#include "checkpoint/piece.h"
#include "metrics/metrics.h"
#include "plugin_host/adapters/model.h"
#include "plugin_host/adapters/tokenizer.h"

namespace trainhost {
namespace {

std::string mismatch(const std::string &found) {
  return found + "; --set says what the deeper model's recipe is to say, as --set model.layers=48";
}

// Whether the recipe's model has exactly the parameters that were made.
Result<> check_model(const CheckedRecipe &checked, const std::string &tokenizer_state, const std::vector<MadeTensor> &tensors) {
  const TokenAxis axis(checked.recipe);
  TRAINHOST_TRY(auto tokenizer_instance, PluginInstance::create(checked.plugins.tokenizer, checked.recipe.tokenizer.parameters, &axis, {}));
  TRAINHOST_TRY(const auto tokenizer, Tokenizer::create(std::move(tokenizer_instance), tokenizer_state));
  TRAINHOST_TRY(auto model_instance, PluginInstance::create(checked.plugins.model, checked.recipe.model.parameters, &axis, {}));
  th_model_options options = model_options(axis, tokenizer->vocabulary_size());
  options.outline = 1;
  TRAINHOST_TRY(const auto model, Model::create(std::move(model_instance), options));

  std::map<std::string, std::string> shapes;  // of the model's parameters
  for (const th_parameter_info &info : model->parameters())
    shapes[std::string(manifest::kModelPrefix) + std::string(info.name.data, info.name.length)] =
        shape_text(std::span(info.shape, static_cast<size_t>(info.rank)));
  for (const MadeTensor &tensor : tensors) {
    if (!tensor.name.starts_with(manifest::kModelPrefix)) continue;
    const auto shape = shapes.extract(tensor.name);
    if (shape.empty()) return failure(ErrorKind::kRecipe, mismatch("the recipe's model has no \"" + tensor.name + "\""));
    if (shape.mapped() != shape_text(tensor.shape)) {
      return failure(ErrorKind::kRecipe, mismatch(fmt::format("\"{}\" has shape {} in the recipe's model, and {} in the checkpoint",
                                                              tensor.name, shape.mapped(), shape_text(tensor.shape))));
    }
  }
  if (shapes.empty()) return {};
  return failure(ErrorKind::kRecipe,
                 mismatch("the deeper checkpoint has no \"" + shapes.begin()->first + "\", which the recipe's model has"));
}

std::string describe(const Deepening &deepening) {
  std::string zeroed;
  for (const std::string &name : deepening.zeroed) zeroed += (zeroed.empty() ? ", with zero for " : ", ") + name;
  return fmt::format("layers {}-{} copied{}", deepening.begin, deepening.end, zeroed);
}

}  // namespace

Result<> deepen_checkpoint(const DeepenQuery &query, FileSystem &files, std::ostream &out) {
  TRAINHOST_TRY(const std::string run, run_of(files, query.checkpoint));
  TRAINHOST_TRY(const StoredTensors stored, StoredTensors::open(files, query.checkpoint, LoadScope::kEverything));
  TRAINHOST_TRY(const LayerNames names, find_layers(stored, query.checkpoint));
  TRAINHOST_TRY(const auto tensors, deepen(stored, names, query.deepening));
  TRAINHOST_TRY(const CheckedRecipe checked, recipe_for(run, query.settings, query.output));
  TRAINHOST_TRY(const std::string tokenizer_state, files.read(run + "/tokenizer.state"));
  TRAINHOST_CHECK(check_model(checked, tokenizer_state, tensors));

  CheckpointManifest description = stored.manifest();
  TRAINHOST_TRY(const std::string manifest, files.read(query.checkpoint + "/" + std::string(manifest::kFileName)));
  description.label = "deepened";
  description.fingerprints.recipe = training_fingerprint(checked.recipe);
  description.origin = {.how = describe(query.deepening),
                        .parts = {{.checkpoint = query.checkpoint, .step = description.step, .weight = 1, .sha256 = sha256(manifest)}}};
  const auto console = query.json ? nullptr : open_console();  // it writes where the JSON goes
  const auto show = [&](uint64_t done, uint64_t total) {
    if (console) console->progress("writing " + query.output, done, total);
  };
  TRAINHOST_CHECK(make_run(files, query.output, checked.recipe, run, [&](const std::string &folder) -> Result<> {
    TRAINHOST_CHECK(write_made_checkpoint(files, folder, description, tensors, show));
    return {};
  }));

  const std::string checkpoint = query.output + "/checkpoints/" + checkpoint_name(description.step);
  const uint64_t layers = names.count + query.deepening.copies();
  if (query.json) {
    out << nlohmann::ordered_json{{"run", query.output},      {"checkpoint", checkpoint},     {"how", description.origin.how},
                                  {"step", description.step}, {"layers_before", names.count}, {"layers", layers}}
               .dump(1)
        << "\n";
    return {};
  }
  out << fmt::format("{}: {}, {} layers became {}\n", checkpoint, description.origin.how, names.count, layers);
  return {};
}

}  // namespace trainhost
