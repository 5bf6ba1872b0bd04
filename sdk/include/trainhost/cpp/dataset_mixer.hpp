// A dataset mixer as a class:
//   Mixer(const Host &, const Config &, std::span<const th_source_info>, uint64_t seed);
//   void plan(const th_phase_mix &, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const;
//   void counts(const th_phase_mix &, uint64_t samples, uint64_t *per_source) const;
// With these two besides it offers th.mixer.feedback/1, to move the shares of the sources by their losses:
//   void describe(th_mixer_feedback_info &out) const;
//   void next_round(const th_mix_round &, std::span<double> state, std::span<double> weights) const;
#pragma once

#include "../ext/mixer_feedback.h"
#include "../kinds/dataset_mixer.h"
#include "plugin.hpp"

namespace trainhost::sdk {
inline namespace [[gnu::visibility("hidden")]] v1_0 {

  template <class Mixer>
  constexpr th_mixer_feedback mixer_feedback_table = {
      .struct_size = sizeof(th_mixer_feedback),
      .reserved = 0,
      .describe = [](const th_dataset_mixer *self, th_mixer_feedback_info *out) -> th_status {
        auto *instance = Instance<Mixer>::of(self);
        return guard(instance->host, [&] { instance->object.describe(*out); });
      },
      .next_round = [](const th_dataset_mixer *self, const th_mix_round *round, double *state, double *weights) -> th_status {
        auto *instance = Instance<Mixer>::of(self);
        return guard(instance->host, [&] {
          th_mixer_feedback_info info{.struct_size = sizeof(th_mixer_feedback_info), .state_size = 0, .round_tokens = 0};
          instance->object.describe(info);
          instance->object.next_round(*round, std::span(state, info.state_size), std::span(weights, round->sources));
        });
      },
  };

  template <class Mixer>
  constexpr th_dataset_mixer_api dataset_mixer_table = {
      .struct_size = sizeof(th_dataset_mixer_api),
      .reserved = 0,
      .create = [](const th_host *host, const th_config *config, const th_source_info *sources, uint32_t count, uint64_t seed,
                   th_dataset_mixer **out) -> th_status {
        return Instance<Mixer>::create(host, out, Host(host), Config(host, config), std::span(sources, count), seed);
      },
      .destroy = [](th_dataset_mixer *self) { Instance<Mixer>::destroy(self); },
      .plan = [](const th_dataset_mixer *self, const th_phase_mix *mix, uint64_t first, uint32_t count, uint32_t *source,
                 uint64_t *ordinal) -> th_status {
        auto *instance = Instance<Mixer>::of(self);
        return guard(instance->host, [&] { instance->object.plan(*mix, first, std::span(source, count), std::span(ordinal, count)); });
      },
      .counts = [](const th_dataset_mixer *self, const th_phase_mix *mix, uint64_t samples, uint64_t *per_source) -> th_status {
        auto *instance = Instance<Mixer>::of(self);
        return guard(instance->host, [&] { instance->object.counts(*mix, samples, per_source); });
      },
      .get_extension = [](const th_dataset_mixer *, [[maybe_unused]] th_string id) -> const void * {
        if constexpr (requires { &Mixer::next_round; }) {
          if (view(id) == TH_EXT_MIXER_FEEDBACK) return &mixer_feedback_table<Mixer>;
        }
        return nullptr;
      },
  };

}  // namespace v1_0
}  // namespace trainhost::sdk
