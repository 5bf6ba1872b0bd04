#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "base/random.h"
#include "plugin_host/adapters/dataset_mixer.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

std::unique_ptr<DatasetMixer> weighted(size_t sources, int64_t block = 10'000) {
  auto plugin = plugin_under_test(PluginKind::kDatasetMixer, "weighted", {{"block", block}});
  return DatasetMixer::create(std::move(plugin), std::vector<MixerSource>(sources, {"s", "en", "ordinary", 1000}), 42).value();
}

PhaseMix mix_of(std::vector<double> weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double &weight : weights) weight /= sum;
  PhaseMix mix;
  mix.windows.assign(weights.size(), 1000);
  mix.samples = 1'000'000;
  mix.weights = std::move(weights);
  return mix;
}

struct Plan {
  std::vector<uint32_t> source;
  std::vector<uint64_t> ordinal;
};

Plan plan_of(const DatasetMixer &mixer, const PhaseMix &mix, uint64_t first, uint64_t count) {
  Plan plan{std::vector<uint32_t>(count), std::vector<uint64_t>(count)};
  const auto outcome = mixer.plan(mix, first, plan.source, plan.ordinal);
  if (!outcome) throw std::runtime_error(outcome.error().message);
  return plan;
}

const std::vector<std::vector<double>> kMixes = {{1},
                                                 {0.5, 0.5},
                                                 {0.7, 0.2, 0.1},
                                                 {0.4, 0.3, 0.3, 0},
                                                 {0, 1, 0},
                                                 {1, 2, 3, 4, 5, 6, 7, 8},
                                                 {0.97, 0.01, 0.01, 0.005, 0.005},
                                                 {1, 1, 1, 1, 1, 1, 1},
                                                 {M_PI, M_E, M_SQRT2, 0.001}};

TEST(Weighted, OrdinalsHaveNoGapsAndCountsAgree) {
  for (const auto &weights : kMixes) {
    const auto mixer = weighted(weights.size(), 1000);
    const PhaseMix mix = mix_of(weights);
    const Plan plan = plan_of(*mixer, mix, 0, 2500);
    std::vector<uint64_t> counts(weights.size());
    for (uint64_t i = 0; i < 2500; ++i) {
      ASSERT_EQ(mixer->counts(mix, i).value(), counts) << i;
      ASSERT_EQ(plan.ordinal[i], counts[plan.source[i]]++) << i;
    }
  }
}

TEST(Weighted, AnswersAreTheSameHoweverARangeIsCut) {
  const auto mixer = weighted(3);
  const PhaseMix mix = mix_of({0.7, 0.2, 0.1});
  const Plan whole = plan_of(*mixer, mix, 123'456'789'000, 1000);
  for (uint64_t begin = 0, length = 1; begin < 1000; begin += length, length = std::min<uint64_t>(length * 2, 1000 - begin)) {
    if (length == 0) break;
    const Plan part = plan_of(*mixer, mix, 123'456'789'000 + begin, length);
    EXPECT_TRUE(std::equal(part.source.begin(), part.source.end(), whole.source.begin() + static_cast<ptrdiff_t>(begin)));
    EXPECT_TRUE(std::equal(part.ordinal.begin(), part.ordinal.end(), whole.ordinal.begin() + static_cast<ptrdiff_t>(begin)));
  }
}

TEST(Weighted, EveryBlockHasEachShareToOneSample) {
  for (const auto &weights : kMixes) {
    const auto mixer = weighted(weights.size(), 1000);
    const PhaseMix mix = mix_of(weights);
    for (const uint64_t block : {0u, 1u, 77u}) {
      const auto before = mixer->counts(mix, block * 1000).value(), after = mixer->counts(mix, (block + 1) * 1000).value();
      for (size_t source = 0; source < weights.size(); ++source) {
        EXPECT_LT(std::abs(static_cast<double>(after[source] - before[source]) - mix.weights[source] * 1000), 1.0);
      }
    }
  }
}

// How far any source is from its share of the block's whole numbers after any number of samples of it.
double largest_error(const DatasetMixer &mixer, const PhaseMix &mix, uint64_t block) {
  const auto shares = mixer.counts(mix, block).value();
  double largest = 0;
  for (uint64_t i = 0; i <= block; ++i) {
    const auto counts = mixer.counts(mix, i).value();
    for (size_t source = 0; source < shares.size(); ++source) {
      const double due = static_cast<double>(shares[source]) * static_cast<double>(i) / static_cast<double>(block);
      largest = std::max(largest, std::abs(static_cast<double>(counts[source]) - due));
    }
  }
  return largest;
}

TEST(Weighted, SpreadsTheSourcesEvenly) {
  double largest = 0;
  for (const auto &weights : kMixes) largest = std::max(largest, largest_error(*weighted(weights.size(), 1000), mix_of(weights), 1000));
  for (uint64_t i = 0; i < 60; ++i) {
    std::vector<double> weights(2 + i % 8);
    for (size_t source = 0; source < weights.size(); ++source) weights[source] = std::pow(random_uniform(i, 1, source), 3) + 1e-3;
    const double error = largest_error(*weighted(weights.size(), 1000), mix_of(weights), 1000);
    if (weights.size() <= 3) {
      EXPECT_LE(error, 1.0);
    }
    largest = std::max(largest, error);
  }
  RecordProperty("largest_error", std::to_string(largest));
  EXPECT_LT(largest, 1.5);
}

TEST(Weighted, KeepsHundredthsOfAPercentExact) {
  const auto mixer = weighted(4);
  EXPECT_EQ(mixer->counts(mix_of({0.7, 0.25, 0.0499, 0.0001}), 30'000).value(), (std::vector<uint64_t>{21'000, 7'500, 1'497, 3}));
}

TEST(Weighted, NeverForgetsASmallSource) {
  const auto mixer = weighted(3, 100);
  EXPECT_EQ(mixer->counts(mix_of({1, 1e-9, 1e-9}), 100).value(), (std::vector<uint64_t>{98, 1, 1}));
}

TEST(Weighted, CountsFarSamplesAtOnce) {
  const auto mixer = weighted(3);
  const uint64_t far = 1'000'000'000'000'000;
  EXPECT_EQ(mixer->counts(mix_of({0.7, 0.2, 0.1}), far).value(), (std::vector<uint64_t>{far / 10 * 7, far / 5, far / 10}));
}

TEST(Weighted, RefusesABlockSmallerThanTheSources) {
  auto plugin = plugin_under_test(PluginKind::kDatasetMixer, "weighted", {{"block", int64_t{2}}});
  const auto mixer = DatasetMixer::create(std::move(plugin), std::vector<MixerSource>(3), 0);
  ASSERT_FALSE(mixer);
  EXPECT_EQ(mixer.error().kind, ErrorKind::kRecipe);
  EXPECT_TRUE(mixer.error().message.ends_with("create: block is 2 samples; expected at least one for each of 3 sources"))
      << mixer.error().message;
}

}  // namespace
}  // namespace trainhost
