// A sample stream over small stores and a mixer.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/sample_stream.h"
#include "store_under_test.h"
#include "support/plugin_under_test.h"
#include "temporary_folder.h"

namespace trainhost {

// Windows have 8 tokens and a step 4 of them until the recipe is changed; a source of n windows has n documents of 8 positions.
class StreamUnderTest {
 public:
  // labelled: where the sources have labels, as in a recipe.
  explicit StreamUnderTest(const std::vector<std::pair<std::string, uint32_t>> &windows,
                           std::unique_ptr<PluginInstance> mixer = plugin_under_test(PluginKind::kDatasetMixer, "weighted"),
                           const std::vector<Source> &labelled = {}) {
    recipe_.packing.sequence_length = 8;
    recipe_.training.batch = Batch::constant(32);
    std::vector<MixerSource> sources;
    for (const auto &[name, count] : windows) {
      Source source = labelled.empty() ? Source() : labelled[recipe_.sources.size()];
      source.name = name;
      recipe_.sources.push_back(source);
      const std::string prefix = folder_.path() + "/" + name;
      data_.sources.push_back({name, store_of(prefix, counting_documents(std::vector<uint32_t>(count, 9))),
                               store_of(prefix + "_held_out", counting_documents({30, 9, 5, 2, 40}))});
      sources.push_back({name, "en", source.quality, data_.sources.back().training->tokens()});
    }
    mixer_ = DatasetMixer::create(std::move(mixer), sources, 0).value();
  }

  // Ends at that many tokens of the run; without a mix, equal shares.
  void add_phase(const std::string &name, uint64_t end_token, const std::map<std::string, double> &mix, uint32_t sequence_length = 8) {
    recipe_.run.tokens = end_token;
    Phase phase;
    phase.name = name;
    phase.until = Amount{static_cast<double>(end_token), Amount::Unit::kTokens, "", {}};
    if (!mix.empty()) phase.overrides.mix = mix;
    phase.overrides.sequence_length = sequence_length;
    recipe_.phases.push_back(phase);
  }

  // From now on only every other token of the source counts in the loss.
  void mask_odd_tokens(size_t source, uint32_t windows) {
    const std::vector<uint8_t> mask{0, 1, 0, 1, 0, 1, 0, 1, 0};
    data_.sources[source].training = store_of(folder_.path() + "/masked", counting_documents(std::vector<uint32_t>(windows, 9)), 65536,
                                              std::vector<std::vector<uint8_t>>(windows, mask));
  }

  Result<std::unique_ptr<SampleStream>> create() {
    axes_.emplace_back(recipe_);
    return SampleStream::create(recipe_, axes_.back(), data_, *mixer_);
  }
  std::unique_ptr<SampleStream> stream() { return create().value(); }

  Recipe &recipe() { return recipe_; }
  const TokenAxis &axis() const { return axes_.back(); }  // of the latest stream
  TokenAxis &axis() { return axes_.back(); }
  const PreparedData &data() const { return data_; }
  const DatasetMixer &mixer() const { return *mixer_; }

 private:
  TemporaryFolder folder_;
  Recipe recipe_;
  PreparedData data_;
  std::unique_ptr<DatasetMixer> mixer_;
  std::list<TokenAxis> axes_;  // streams keep using theirs
};

}  // namespace trainhost
