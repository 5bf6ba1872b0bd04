#include "plugin_host/adapters/dataset_mixer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "plugin_host/adapters/extension.h"
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

// What is wrong with a round's weights and the state after it, or empty.
std::string mistake_in(const PhaseMix &phase, std::span<const double> state, std::span<const double> weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights[i]) || weights[i] < 0)
      return fmt::format("the weight of source {} is {}, expected a finite number from 0 on", i, weights[i]);
    if (weights[i] > 0 && !(phase.weights[i] > 0)) {
      return fmt::format("the weight of source {} is {}, expected 0 because its share in the phase is 0", i, weights[i]);
    }
  }
  if (const double sum = std::accumulate(weights.begin(), weights.end(), 0.0); !std::isnormal(sum))
    return fmt::format("the weights sum to {}, expected a finite sum above 0", sum);
  const auto wrong = std::ranges::find_if(state, [](double number) { return !std::isfinite(number); });
  if (wrong == state.end()) return "";
  return fmt::format("number {} of its state is {}, expected finite numbers", wrong - state.begin(), *wrong);
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
  TRAINHOST_CHECK(mixer->find_feedback());
  return mixer;
}

Result<> DatasetMixer::find_feedback() {
  const th_dataset_mixer *self = self_;
  TRAINHOST_TRY(feedback_, find_extension(*plugin_, api_, self, TH_EXT_MIXER_FEEDBACK, &th_mixer_feedback::next_round));
  if (feedback_ == nullptr) return {};
  if (feedback_->describe == nullptr) {
    return plugin_->broken_contract("get_extension", "the table of \"" TH_EXT_MIXER_FEEDBACK "\" has null in the slot describe");
  }
  th_mixer_feedback_info info{.struct_size = sizeof(th_mixer_feedback_info), .state_size = 0, .round_tokens = 0};
  const PluginCall call(plugin_->manifest(), "describe");
  TRAINHOST_CHECK(plugin_->check(feedback_->describe(self, &info), "describe"));
  if (info.state_size > TH_MIXER_STATE_MAX) {
    return plugin_->broken_contract("describe", fmt::format("state_size is {}, expected at most {}", info.state_size, TH_MIXER_STATE_MAX));
  }
  if (!std::isfinite(info.round_tokens) || info.round_tokens <= 0) {
    return plugin_->broken_contract("describe",
                                    fmt::format("round_tokens is {}, expected a finite number of tokens above 0", info.round_tokens));
  }
  rounds_ = MixerRounds{.state_size = info.state_size, .tokens = info.round_tokens};
  return {};
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

Result<> DatasetMixer::next_round(const PhaseMix &phase, const RoundBefore &before, std::span<double> state,
                                  std::span<double> weights) const {
  const th_phase_mix mix = to_c(phase);
  const th_mix_round round{.struct_size = sizeof(th_mix_round),
                           .sources = static_cast<uint32_t>(weights.size()),
                           .phase = &mix,
                           .weights = before.weights.data(),
                           .losses = before.losses.data(),
                           .tokens = before.tokens.data()};
  const PluginCall call(plugin_->manifest(), "next_round");
  TRAINHOST_CHECK(plugin_->check(feedback_->next_round(self_, &round, state.data(), weights.data()), "next_round"));
  if (const std::string mistake = mistake_in(phase, state, weights); !mistake.empty()) {
    return plugin_->broken_contract("next_round", fmt::format("round {}, in phase {}: {}", before.round, phase.phase, mistake));
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double &weight : weights) weight /= sum;
  return {};
}

}  // namespace trainhost
