#include "plugin_host/adapters/dataset_mixer.h"

#include <numeric>

#include <fmt/format.h>

#include "plugin_host/plugin_call.h"

namespace trainhost {
namespace {

th_string to_c(const std::string &text) { return {text.data(), text.size()}; }

th_phase_mix to_c(const PhaseMix &mix) {
  return {.struct_size = sizeof(th_phase_mix),
          .phase = mix.phase,
          .weights = mix.weights.data(),
          .windows = mix.windows.data(),
          .samples = mix.samples};
}

}  // namespace

Result<std::unique_ptr<DatasetMixer>> DatasetMixer::create(std::unique_ptr<PluginInstance> plugin, std::span<const MixerSource> sources,
                                                           uint64_t seed) {
  std::vector<th_source_info> infos;
  for (const MixerSource &source : sources) {
    infos.push_back({.struct_size = sizeof(th_source_info),
                     .reserved = 0,
                     .name = to_c(source.name),
                     .language = to_c(source.language),
                     .quality = to_c(source.quality),
                     .tokens = source.tokens});
  }
  std::unique_ptr<DatasetMixer> mixer(new DatasetMixer);
  mixer->plugin_ = std::move(plugin);
  const PluginInstance &instance = *mixer->plugin_;
  mixer->api_ = static_cast<const th_dataset_mixer_api *>(instance.table());
  const PluginCall call(instance.manifest(), "create");
  const th_status status =
      mixer->api_->create(instance.host(), instance.config(), infos.data(), static_cast<uint32_t>(infos.size()), seed, &mixer->self_);
  TRAINHOST_CHECK(instance.check(status, "create"));
  if (mixer->self_ == nullptr) return instance.broken_contract("create", "succeeded without giving an instance");
  return mixer;
}

DatasetMixer::~DatasetMixer() {
  if (self_ == nullptr) return;
  const PluginCall call(plugin_->manifest(), "destroy");
  api_->destroy(self_);
}

Result<> DatasetMixer::plan(const PhaseMix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const {
  const th_phase_mix phase = to_c(mix);
  const PluginCall call(plugin_->manifest(), "plan");
  TRAINHOST_CHECK(
      plugin_->check(api_->plan(self_, &phase, first, static_cast<uint32_t>(source.size()), source.data(), ordinal.data()), "plan"));
  for (size_t i = 0; i < source.size(); ++i) {
    const uint32_t chosen = source[i];
    const auto refuse = [&](const std::string &found) {
      return plugin_->broken_contract("plan",
                                      fmt::format("sample {} of phase {} comes from source {}, {}", first + i, mix.phase, chosen, found));
    };
    if (chosen >= mix.weights.size()) return refuse(fmt::format("there are {} sources", mix.weights.size()));
    if (!(mix.weights[chosen] > 0)) return refuse("whose share in the phase is 0");
    if (mix.windows[chosen] == 0) return refuse("which has no samples");
  }
  return {};
}

Result<std::vector<uint64_t>> DatasetMixer::counts(const PhaseMix &mix, uint64_t samples) const {
  const th_phase_mix phase = to_c(mix);
  std::vector<uint64_t> counts(mix.weights.size());
  const PluginCall call(plugin_->manifest(), "counts");
  TRAINHOST_CHECK(plugin_->check(api_->counts(self_, &phase, samples, counts.data()), "counts"));
  if (const uint64_t sum = std::accumulate(counts.begin(), counts.end(), uint64_t{0}); sum != samples) {
    return plugin_->broken_contract(
        "counts", fmt::format("the sources' counts add up to {}, expected {} samples of phase {}", sum, samples, mix.phase));
  }
  return counts;
}

}  // namespace trainhost
