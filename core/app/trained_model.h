// A model as a run left it: for generating text and measuring, without the data and the optimizer.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "app/corpus.h"
#include "base/status.h"
#include "plugin_host/adapters/model.h"
#include "plugin_host/adapters/tokenizer.h"
#include "recipe/token_axis.h"
#include "train/model_runner.h"
#include "train/parameter_store.h"
#include "train/train_state.h"

namespace trainhost {

class TrainedModel {
 public:
  // From run_directory's recipe.toml, tokenizer.state and checkpoint; the newest good one, or that of `step`. Writes nothing.
  static Result<std::unique_ptr<TrainedModel>> load(const std::string &run_directory, std::optional<uint64_t> step,
                                                    const PluginEvents &events);

  const CheckedRecipe &checked() const { return checked_; }
  const TokenAxis &axis() const { return *axis_; }
  const Tokenizer &tokenizer() const { return *tokenizer_; }
  ModelRunner &runner() { return *runner_; }
  uint64_t step() const { return step_; }

 private:
  TrainedModel() = default;
  CheckedRecipe checked_;
  std::optional<TokenAxis> axis_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<ProcessGroup> process_ = single_process();
  std::optional<ParameterStore> parameters_;
  std::optional<ModelRunner> runner_;
  uint64_t step_ = 0;
};

}  // namespace trainhost
