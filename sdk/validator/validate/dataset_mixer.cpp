#include <algorithm>
#include <array>
#include <cmath>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "plugin_host/adapters/dataset_mixer.h"
#include "validate/child.h"
#include "validate/guarded_memory.h"
#include "validate/rules.h"

namespace trainhost::validator {
namespace {

using Mixer = std::unique_ptr<DatasetMixer>;

constexpr uint64_t kSamples = 1000;

// The last source has no share in the phase.
const std::array<MixerSource, 4> kSources{MixerSource{"web", "en", "ordinary", 1'000'000},
                                          MixerSource{"chinese", "zh", "ordinary", 300'000}, MixerSource{"books", "en", "high", 2'000},
                                          MixerSource{"unused", "", "ordinary", 5'000}};
const PhaseMix kMix{.phase = 0, .weights = {0.5, 0.3, 0.2, 0}, .windows = {400, 120, 7, 9}, .samples = kSamples};

struct Planned {
  std::vector<uint32_t> sources;
  std::vector<uint64_t> ordinals;
  bool operator==(const Planned &) const = default;
};

Result<Mixer> create(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>()) {
  TRAINHOST_TRY(auto instance, trial.instance(record));
  return DatasetMixer::create(std::move(instance), kSources, trial.seed());
}

// Samples [0, kSamples), asked for in pieces of so many, from the first or from the last piece on.
Result<Planned> planned(const DatasetMixer &mixer, uint64_t at_a_time, bool backwards = false) {
  Planned all{std::vector<uint32_t>(kSamples), std::vector<uint64_t>(kSamples)};
  const uint64_t pieces = (kSamples + at_a_time - 1) / at_a_time;
  for (uint64_t i = 0; i < pieces; ++i) {
    const uint64_t first = (backwards ? pieces - 1 - i : i) * at_a_time, count = std::min(at_a_time, kSamples - first);
    doing(fmt::format("plan of samples {} to {}", first, first + count));
    TRAINHOST_CHECK(mixer.plan(kMix, first, std::span(all.sources).subspan(first, count), std::span(all.ordinals).subspan(first, count)));
  }
  return all;
}

Result<std::string> live(const Trial &trial, const SharedRecord &record) {
  TRAINHOST_TRY(const Mixer mixer, create(trial, record));
  TRAINHOST_TRY(const Planned plan, planned(*mixer, 128));
  TRAINHOST_TRY(const auto counts, mixer->counts(kMix, kSamples / 3));
  std::string results;
  for (const uint32_t source : plan.sources) append(results, source);
  for (const uint64_t ordinal : plan.ordinals) append(results, ordinal);
  for (const uint64_t count : counts) append(results, count);
  return results;
}

Result<> cuts(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  TRAINHOST_TRY(const Planned whole, planned(*mixer, kSamples));
  for (const uint64_t at_a_time : {1u, 7u, 64u, 999u}) {
    for (const bool backwards : {false, true}) {
      TRAINHOST_TRY(const Planned pieces, planned(*mixer, at_a_time, backwards));
      if (pieces != whole) return broken(fmt::format("in pieces of {} samples it plans other samples than at once", at_a_time));
    }
  }
  return {};
}

Result<> ordinals(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  TRAINHOST_TRY(const Planned plan, planned(*mixer, kSamples));
  std::vector<uint64_t> seen(kSources.size());
  for (uint64_t i = 0; i < kSamples; ++i) {
    const uint32_t source = plan.sources[i];
    if (plan.ordinals[i] != seen[source]++) {
      return broken(fmt::format("sample {} has ordinal {} of source \"{}\", of which {} came before", i, plan.ordinals[i],
                                kSources[source].name, seen[source] - 1));
    }
    if (i % 111 != 0) continue;
    TRAINHOST_TRY(const auto counts, mixer->counts(kMix, i + 1));
    if (counts != seen) return broken(fmt::format("counts after {} samples are not those of plan", i + 1));
  }
  return {};
}

// A mixer may follow any curriculum, but over a whole phase each source has its share, up to a sample for each source.
Result<> shares(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  TRAINHOST_TRY(const auto counts, mixer->counts(kMix, kSamples));
  for (size_t i = 0; i < kSources.size(); ++i) {
    const double expected = kMix.weights[i] * kSamples, found = static_cast<double>(counts[i]);
    if (std::abs(found - expected) > static_cast<double>(kSources.size()))
      return broken(fmt::format("source \"{}\" has {} of {} samples, its share is {}", kSources[i].name, found, kSamples, expected));
  }
  return {};
}

Result<> many_threads(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  TRAINHOST_TRY(const Planned alone, planned(*mixer, 50));
  std::array<Result<Planned>, 4> together;
  std::vector<std::thread> threads;
  for (auto &result : together) threads.emplace_back([&] { result = planned(*mixer, 50); });
  for (std::thread &thread : threads) thread.join();
  for (const auto &result : together) {
    TRAINHOST_CHECK(result);
    if (*result != alone) return broken("four threads at once get other plans than one");
  }
  return {};
}

Result<> stays_in_its_arrays(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  for (const uint32_t count : {0u, 1u, 3u, 1000u}) {
    const GuardedArray<uint32_t> sources(count);
    const GuardedArray<uint64_t> ordinals(count);
    doing(fmt::format("plan of {} samples into guarded arrays", count));
    TRAINHOST_CHECK(mixer->plan(kMix, 0, sources.items(), ordinals.items()));
    if (!sources.memory().border_intact() || !ordinals.memory().border_intact())
      return broken(fmt::format("plan of {} samples writes before its arrays", count));
  }
  return {};
}

// What a mixer is told of the sources, in memory that can be forbidden.
class GuardedSources {
 public:
  GuardedSources() : infos_(kSources.size()) {
    for (size_t i = 0; i < kSources.size(); ++i) {
      const auto &[name, language, quality, tokens] = kSources[i];
      infos_.data()[i] = {sizeof(th_source_info), 0, text(name), text(language), text(quality), tokens};
    }
  }
  const th_source_info *data() const { return infos_.data(); }
  void forbid() {
    infos_.memory().forbid();
    for (auto &text : texts_) text.memory().forbid();
  }

 private:
  th_string text(const std::string &text) {
    const auto &guarded = texts_.emplace_back(text.size());
    std::ranges::copy(text, guarded.data());
    return {guarded.data(), guarded.size()};
  }

  std::vector<GuardedArray<char>> texts_;
  GuardedArray<th_source_info> infos_;
};

// Likewise of a phase.
class GuardedMix {
 public:
  GuardedMix() : weights_(kMix.weights.size()), windows_(kMix.windows.size()), mix_(1) {
    std::ranges::copy(kMix.weights, weights_.data());
    std::ranges::copy(kMix.windows, windows_.data());
    *mix_.data() = {sizeof(th_phase_mix), kMix.phase, weights_.data(), windows_.data(), kMix.samples};
  }
  const th_phase_mix *get() const { return mix_.data(); }
  void forbid() {
    weights_.memory().forbid();
    windows_.memory().forbid();
    mix_.memory().forbid();
  }

 private:
  GuardedArray<double> weights_;
  GuardedArray<uint64_t> windows_;
  GuardedArray<th_phase_mix> mix_;
};

// What one call is given is gone in the next.
Result<> keeps_no_pointer(const Trial &trial) {
  TRAINHOST_TRY(const auto instance, trial.instance());
  const auto *api = static_cast<const th_dataset_mixer_api *>(instance->table());
  th_dataset_mixer *self = nullptr;
  GuardedSources sources;
  doing("create");
  TRAINHOST_CHECK(instance->check(
      api->create(instance->host(), instance->config(), sources.data(), static_cast<uint32_t>(kSources.size()), trial.seed(), &self),
      "create"));
  sources.forbid();
  std::vector<GuardedMix> gone;
  Result<> result;
  for (uint64_t first = 0; first < kSamples && result; first += 100) {
    auto &mix = gone.emplace_back();
    std::array<uint32_t, 100> source;
    std::array<uint64_t, 100> ordinal, counts;
    doing(fmt::format("plan from sample {} on, where nothing that earlier calls were given is there any more", first));
    result = instance->check(api->plan(self, mix.get(), first, 100, source.data(), ordinal.data()), "plan");
    if (result) result = instance->check(api->counts(self, mix.get(), first, counts.data()), "counts");
    mix.forbid();
  }
  api->destroy(self);
  return result;
}

constexpr std::array kRules{
    Rule{"TH-MIX-01", "however a range of samples is cut into calls, the plan is the same", cuts},
    Rule{"TH-MIX-02", "each source's ordinals go from 0 without gaps, and counts agrees with plan", ordinals},
    Rule{"TH-MIX-03", "over a phase each source has its share of the samples", shares},
    Rule{"TH-MIX-04", "threads that ask at once get the same plan", many_threads},
    Rule{"TH-MIX-05", "writes nothing outside the arrays it is given", stays_in_its_arrays},
    Rule{"TH-MIX-06", "keeps no pointer to what a call is given", keeps_no_pointer},
};
constexpr KindRules kKind{kRules, live};

}  // namespace

const KindRules &dataset_mixer_rules() { return kKind; }

}  // namespace trainhost::validator
