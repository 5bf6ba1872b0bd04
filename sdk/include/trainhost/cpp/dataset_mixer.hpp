// A dataset mixer as a class:
//   Mixer(const Host &, const Config &, std::span<const th_source_info>, uint64_t seed);
//   void plan(const th_phase_mix &, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const;
//   void counts(const th_phase_mix &, uint64_t samples, uint64_t *per_source) const;
#pragma once

#include "../kinds/dataset_mixer.h"
#include "plugin.hpp"

namespace trainhost::sdk {
inline namespace [[gnu::visibility("hidden")]] v1_0 {

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
      .get_extension = nullptr,
  };

}  // namespace v1_0
}  // namespace trainhost::sdk
