#include "app/corpus.h"

#include <algorithm>

namespace trainhost {

Result<std::unique_ptr<Corpus>> Corpus::assemble(const CheckedRecipe &checked, const TokenAxis &axis, const PluginEvents &events) {
  const Recipe &recipe = checked.recipe;
  std::unique_ptr<Corpus> corpus(new Corpus);
  TRAINHOST_TRY(corpus->data_, prepare_data(recipe, checked.plugins.tokenizer, events));
  TRAINHOST_TRY(corpus->bytes_per_id_, trainhost::bytes_per_id(corpus->tokenizer()));
  std::vector<MixerSource> sources;
  for (size_t i = 0; i < recipe.sources.size(); ++i) {
    const Source &source = recipe.sources[i];
    sources.push_back({source.name, source.language, source.quality, corpus->data_.sources[i].training->tokens()});
  }
  TRAINHOST_TRY(auto instance, PluginInstance::create(checked.plugins.mixer, recipe.mixer.parameters, &axis, events));
  TRAINHOST_TRY(corpus->mixer_, DatasetMixer::create(std::move(instance), sources, recipe.run.seed));
  TRAINHOST_TRY(corpus->stream_, SampleStream::create(recipe, axis, corpus->data_, *corpus->mixer_));
  return corpus;
}

std::vector<HeldOutSource> Corpus::held_out(const Recipe &recipe, const TokenAxis &axis) const {
  const auto &wanted = recipe.evaluation.sources;
  const StepShape &first = axis.shape_of_step(0);
  std::vector<HeldOutSource> sources;
  for (uint32_t i = 0; i < recipe.sources.size(); ++i) {
    const std::string &name = recipe.sources[i].name;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
    auto batches = stream_->held_out(i, first.sequence_length, recipe.evaluation.tokens, first.micro_batch_sequences);
    if (!batches.empty()) sources.push_back({name, std::move(batches)});
  }
  return sources;
}

}  // namespace trainhost
