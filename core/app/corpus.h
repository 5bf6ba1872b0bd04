// The data of a recipe, ready to be drawn from: token stores, tokenizer, mixer and the stream of samples.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/prepare.h"
#include "data/sample_stream.h"
#include "evaluate/held_out_loss.h"
#include "plugin_host/adapters/dataset_mixer.h"
#include "plugin_host/registry.h"
#include "recipe/mix_by_size.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"

namespace trainhost {

// A recipe that passed all checks, with the plugins it names. Each phase has its mix.
struct CheckedRecipe {
  Recipe recipe;
  RecipePlugins plugins;
  std::vector<SettledMix> settled_mixes = {};  // what its mixes by the model's size came to
};

// Everything stays where it is once assembled; recipe and axis outlive it.
class Corpus {
 public:
  static Result<std::unique_ptr<Corpus>> assemble(const CheckedRecipe &checked, const TokenAxis &axis, const PluginEvents &events);

  const Tokenizer &tokenizer() const { return *data_.tokenizer; }
  const std::string &tokenizer_state() const { return data_.tokenizer_state; }
  const std::string &fingerprint() const { return data_.fingerprint; }
  const PreparedData &data() const { return data_; }
  const DatasetMixer &mixer() const { return *mixer_; }
  SampleStream &stream() { return *stream_; }
  const std::vector<uint32_t> &bytes_per_id() const { return bytes_per_id_; }
  // The held-out windows of the sources that the recipe evaluates, at the first phase's sequence length.
  std::vector<HeldOutSource> held_out(const Recipe &recipe, const TokenAxis &axis) const;

 private:
  Corpus() = default;
  PreparedData data_;
  std::vector<uint32_t> bytes_per_id_;
  std::unique_ptr<DatasetMixer> mixer_;
  std::unique_ptr<SampleStream> stream_;
};

}  // namespace trainhost
