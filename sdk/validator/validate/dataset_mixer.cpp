#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
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

// Another phase, in which the first source has no share and the last one has.
const PhaseMix kOtherMix{.phase = 1, .weights = {0, 0.5, 0.25, 0.25}, .windows = {400, 120, 7, 9}, .samples = kSamples};

constexpr uint64_t kRounds = 60;

// A round as it was asked for, and what came of it.
struct Round {
  const PhaseMix *phase = nullptr;
  RoundBefore before;
  std::vector<double> state, next_state, weights;
};

enum class Losses { kUsual, kExtreme };

struct Planned {
  std::vector<uint32_t> sources;
  std::vector<uint64_t> ordinals;
  bool operator==(const Planned &) const = default;
};

Result<Mixer> create(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>()) {
  TRAINHOST_TRY(auto instance, trial.instance(record));
  return DatasetMixer::create(std::move(instance), kSources, trial.seed());
}

// Samples [0, mix.samples), asked for in pieces of so many, from the first or from the last piece on.
Result<Planned> planned(const DatasetMixer &mixer, uint64_t at_a_time, bool backwards = false, const PhaseMix &mix = kMix) {
  Planned all{std::vector<uint32_t>(mix.samples), std::vector<uint64_t>(mix.samples)};
  const uint64_t pieces = (mix.samples + at_a_time - 1) / at_a_time;
  for (uint64_t i = 0; i < pieces; ++i) {
    const uint64_t first = (backwards ? pieces - 1 - i : i) * at_a_time, count = std::min(at_a_time, mix.samples - first);
    doing(fmt::format("plan of samples {} to {}", first, first + count));
    TRAINHOST_CHECK(mixer.plan(mix, first, std::span(all.sources).subspan(first, count), std::span(all.ordinals).subspan(first, count)));
  }
  return all;
}

// A loss between 0.1 and 10.1; of the extreme ones every other is among what a run can have at worst.
double drawn_loss(uint64_t bits, Losses losses) {
  constexpr std::array kExtremes{0.0, 1e-45, 100.0, 1e6, 3.4e38};  // token losses are float32
  if (losses == Losses::kExtreme && bits % 2 == 0) return kExtremes[bits / 2 % kExtremes.size()];
  return 0.1 + 10 * static_cast<double>(bits % 1009) / 1009;
}

// What the mixer is told of a round in which `weights` held. Every now and then a source had no token.
RoundBefore told(const Trial &trial, uint64_t round, std::vector<double> weights, Losses losses) {
  RoundBefore before{.round = round, .weights = std::move(weights), .losses = {}, .tokens = {}};
  for (size_t i = 0; i < kSources.size(); ++i) {
    const uint64_t bits = random_bits(trial.seed(), round, i);
    const bool drawn = round > 0 && before.weights[i] > 0 && (bits >> 32) % 5 != 0;
    before.tokens.push_back(drawn ? 1 + (bits >> 40) : 0);
    before.losses.push_back(drawn ? drawn_loss(bits, losses) : std::numeric_limits<double>::quiet_NaN());
  }
  return before;
}

Result<> next(const DatasetMixer &mixer, Round &round) {
  doing(fmt::format("next_round of round {}", round.before.round));
  round.next_state = round.state;
  round.weights.assign(kSources.size(), 0);
  return mixer.next_round(*round.phase, round.before, round.next_state, round.weights);
}

// A run of rounds, in the phase or, without one, in two by turns.
Result<std::vector<Round>> rounds(const Trial &trial, const DatasetMixer &mixer, Losses losses, const PhaseMix *phase = nullptr) {
  if (!mixer.rounds()) return not_concerned("it has no extension th.mixer.feedback/1");
  std::vector<Round> rounds;
  std::vector<double> state(mixer.rounds()->state_size), weights = kMix.weights;
  for (uint64_t i = 0; i < kRounds; ++i) {
    Round round{.phase = phase != nullptr ? phase
                         : i / 7 % 2 == 0 ? &kMix
                                          : &kOtherMix,
                .before = told(trial, i, weights, losses),
                .state = state,
                .next_state = {},
                .weights = {}};
    TRAINHOST_CHECK(next(mixer, round));
    state = round.next_state;
    weights = round.weights;
    rounds.push_back(std::move(round));
  }
  return rounds;
}

Result<std::string> live(const Trial &trial, const SharedRecord &record) {
  TRAINHOST_TRY(const Mixer mixer, create(trial, record));
  TRAINHOST_TRY(const Planned plan, planned(*mixer, 128));
  TRAINHOST_TRY(const auto counts, mixer->counts(kMix, kSamples / 3));
  std::string results;
  for (const uint32_t source : plan.sources) append(results, source);
  for (const uint64_t ordinal : plan.ordinals) append(results, ordinal);
  for (const uint64_t count : counts) append(results, count);
  if (!mixer->rounds()) return results;
  TRAINHOST_TRY(const auto run, rounds(trial, *mixer, Losses::kUsual));
  for (const double weight : run.back().weights) append(results, weight);
  for (const double number : run.back().next_state) append(results, number);
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

Result<> check_ordinals(const DatasetMixer &mixer, const PhaseMix &mix) {
  TRAINHOST_TRY(const Planned plan, planned(mixer, mix.samples, false, mix));
  std::vector<uint64_t> seen(kSources.size());
  for (uint64_t i = 0; i < mix.samples; ++i) {
    const uint32_t source = plan.sources[i];
    if (plan.ordinals[i] != seen[source]++) {
      return broken(fmt::format("sample {} has ordinal {} of source \"{}\", of which {} came before", i, plan.ordinals[i],
                                kSources[source].name, seen[source] - 1));
    }
    if (i % 111 != 0) continue;
    TRAINHOST_TRY(const auto counts, mixer.counts(mix, i + 1));
    if (counts != seen) return broken(fmt::format("counts after {} samples are not those of plan", i + 1));
  }
  return {};
}

Result<> ordinals(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  return check_ordinals(*mixer, kMix);
}

// A mixer may follow any curriculum, but over a whole phase or round each source has its share, up to a sample for each source.
Result<> check_shares(const DatasetMixer &mixer, const PhaseMix &mix) {
  TRAINHOST_TRY(const auto counts, mixer.counts(mix, mix.samples));
  for (size_t i = 0; i < kSources.size(); ++i) {
    const double expected = mix.weights[i] * static_cast<double>(mix.samples), found = static_cast<double>(counts[i]);
    if (std::abs(found - expected) > static_cast<double>(kSources.size()))
      return broken(fmt::format("source \"{}\" has {} of {} samples, its share is {}", kSources[i].name, found, mix.samples, expected));
  }
  return {};
}

Result<> shares(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  return check_shares(*mixer, kMix);
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

// A resumed run asks another instance, which begins with any round.
Result<> rounds_again(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  TRAINHOST_TRY(const auto run, rounds(trial, *mixer, Losses::kUsual));
  TRAINHOST_TRY(const Mixer other, create(trial));
  if (!other->rounds() || other->rounds()->state_size != mixer->rounds()->state_size || other->rounds()->tokens != mixer->rounds()->tokens)
    return broken("another instance describes other rounds");
  for (size_t i = run.size(); i-- > 0;) {
    Round again = run[i];
    TRAINHOST_CHECK(next(*other, again));
    if (again.weights != run[i].weights) return broken(fmt::format("round {} has other weights in another instance", i));
    if (again.next_state != run[i].next_state) return broken(fmt::format("round {} leaves another state in another instance", i));
  }
  return {};
}

// The adapter looks at what is given.
Result<> any_losses(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  return rounds(trial, *mixer, Losses::kExtreme).map([](auto &&) {});
}

Result<> plans_its_rounds(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  for (const Losses losses : {Losses::kUsual, Losses::kExtreme}) {
    TRAINHOST_TRY(const auto run, rounds(trial, *mixer, losses, &kMix));
    for (const Round &round : run) {
      PhaseMix mix = kMix;
      mix.weights = round.weights;
      mix.samples = 1 + random_bits(trial.seed(), kRounds, round.before.round) % kSamples;
      doing(fmt::format("plan of round {}, of {} samples", round.before.round, mix.samples));
      TRAINHOST_CHECK(check_ordinals(*mixer, mix));
      mix.samples = kSamples;
      TRAINHOST_CHECK(check_shares(*mixer, mix));
    }
  }
  return {};
}

Result<> next_round_stays_in_its_arrays(const Trial &trial) {
  TRAINHOST_TRY(const Mixer mixer, create(trial));
  if (!mixer->rounds()) return not_concerned("it has no extension th.mixer.feedback/1");
  const GuardedArray<double> state(mixer->rounds()->state_size), weights(kSources.size());
  for (uint64_t i = 0; i < 3; ++i) {
    doing("next_round with guarded arrays");
    TRAINHOST_CHECK(mixer->next_round(kMix, told(trial, i, kMix.weights, Losses::kUsual), state.items(), weights.items()));
    if (!state.memory().border_intact() || !weights.memory().border_intact()) return broken("next_round writes before its arrays");
  }
  return {};
}

constexpr std::array kRules{
    Rule{"TH-MIX-01", "however a range of samples is cut into calls, the plan is the same", cuts},
    Rule{"TH-MIX-02", "each source's ordinals go from 0 without gaps, and counts agrees with plan", ordinals},
    Rule{"TH-MIX-03", "over a phase each source has its share of the samples", shares},
    Rule{"TH-MIX-04", "threads that ask at once get the same plan", many_threads},
    Rule{"TH-MIX-05", "writes nothing outside the arrays it is given", stays_in_its_arrays},
    Rule{"TH-MIX-06", "keeps no pointer to what a call is given", keeps_no_pointer},
    Rule{"TH-MIX-07", "what next_round gives is a function of its arguments, in any instance", rounds_again},
    Rule{"TH-MIX-08", "next_round gives valid weights and a finite state, whatever the losses", any_losses},
    Rule{"TH-MIX-09", "plans the rounds that it asks for, of any length", plans_its_rounds},
    Rule{"TH-MIX-10", "next_round writes nothing outside the state and the weights", next_round_stays_in_its_arrays},
};
constexpr KindRules kKind{kRules, live};

}  // namespace

const KindRules &dataset_mixer_rules() { return kKind; }

}  // namespace trainhost::validator
