#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "plugin_host/adapters/dataset_mixer.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

constexpr uint64_t kSamples = 3000;

Result<std::unique_ptr<DatasetMixer>> make(const std::vector<std::string> &qualities, double transition,
                                           const std::string &order = "ordinary, high") {
  std::vector<MixerSource> sources;
  for (const std::string &quality : qualities) sources.push_back({"of " + quality, "en", quality, 1000});
  auto plugin = plugin_under_test(PluginKind::kDatasetMixer, "ascending_quality", {{"transition", transition}, {"order", order}});
  return DatasetMixer::create(std::move(plugin), sources, 42);
}

PhaseMix mix_of(std::vector<double> weights, uint64_t samples = kSamples) {
  PhaseMix mix;
  mix.windows.assign(weights.size(), 1000);
  mix.samples = samples;
  mix.weights = std::move(weights);
  return mix;
}

struct Plan {
  std::vector<uint32_t> source;
  std::vector<uint64_t> ordinal;
};

Plan plan_of(const DatasetMixer &mixer, const PhaseMix &mix) {
  Plan plan{std::vector<uint32_t>(mix.samples), std::vector<uint64_t>(mix.samples)};
  EXPECT_TRUE(mixer.plan(mix, 0, plan.source, plan.ordinal));
  return plan;
}

struct Case {
  std::vector<std::string> qualities;
  std::vector<double> weights;
};
const std::vector<Case> kCases{{{"ordinary", "high"}, {0.7, 0.3}},
                               {{"high", "ordinary", "high", "ordinary"}, {0.15, 0.5, 0.05, 0.3}},
                               {{"high", "ordinary", "web"}, {0.1, 0.2, 0.7}},
                               {{"web", "ordinary", "high", "high"}, {0.9, 0.01, 0.09, 0}},
                               {{"high", "ordinary"}, {1, 0}}};

TEST(AscendingQuality, KeepsEachSourcesShareOfThePhase) {
  for (const Case &one : kCases) {
    for (const double transition : {0.0, 0.3, 1.0}) {
      const auto mixer = make(one.qualities, transition, "web, ordinary, high").value();
      const auto counts = mixer->counts(mix_of(one.weights), kSamples).value();
      for (size_t i = 0; i < counts.size(); ++i) EXPECT_NEAR(static_cast<double>(counts[i]), one.weights[i] * kSamples, 1);
    }
  }
}

TEST(AscendingQuality, OrdinalsHaveNoGapsAndCountsAgree) {
  for (const Case &one : kCases) {
    for (const double transition : {0.0, 0.3, 1.0}) {
      const auto mixer = make(one.qualities, transition, "web, ordinary, high").value();
      const PhaseMix mix = mix_of(one.weights);
      const Plan plan = plan_of(*mixer, mix);
      std::vector<uint64_t> seen(one.weights.size());
      for (uint64_t i = 0; i < kSamples; ++i) {
        ASSERT_EQ(mixer->counts(mix, i).value(), seen) << i;
        ASSERT_EQ(plan.ordinal[i], seen[plan.source[i]]++) << i;
      }
      EXPECT_EQ(mixer->counts(mix, kSamples).value(), seen);
    }
  }
}

TEST(AscendingQuality, ChangesToTheNextQualityOnTheExactSample) {
  const auto mixer = make({"high", "ordinary", "web", "ordinary"}, 0, "web, ordinary, high").value();
  const Plan plan = plan_of(*mixer, mix_of({0.1, 0.2, 0.6, 0.1}));
  for (uint64_t i = 0; i < kSamples; ++i) {
    if (i < 1800) {
      ASSERT_EQ(plan.source[i], 2u) << i;
    } else if (i < 2700) {
      ASSERT_EQ(plan.source[i] % 2, 1u) << i;
    } else {
      ASSERT_EQ(plan.source[i], 0u) << i;
    }
  }
}

// From 1950 to 2250 the share of the lower quality falls from 1 to 0, so of its samples n - (n - 1950)^2 / 600 have come.
TEST(AscendingQuality, OneQualityGivesWayToTheNextInAStraightLine) {
  const auto mixer = make({"ordinary", "high"}, 0.1).value();
  const PhaseMix mix = mix_of({0.7, 0.3});
  for (uint64_t n = 0; n <= kSamples; ++n) {
    const double since = std::clamp(static_cast<double>(n) - 1950, 0.0, 300.0);
    const double expected = std::min(static_cast<double>(n), 2250.0) - since * since / 600;
    ASSERT_NEAR(static_cast<double>(mixer->counts(mix, n).value()[0]), expected, 0.5) << n;
  }
}

TEST(AscendingQuality, CountsFarSamplesAtOnce) {
  const auto mixer = make({"ordinary", "high"}, 0.5).value();
  const uint64_t all = 1'000'000'000'000'000;
  const PhaseMix mix = mix_of({0.5, 0.5}, all);
  EXPECT_EQ(mixer->counts(mix, all).value(), (std::vector<uint64_t>{all / 2, all / 2}));
  EXPECT_EQ(mixer->counts(mix, all / 2).value(), (std::vector<uint64_t>{all / 16 * 7, all / 16})) << "half way through the transition";
}

TEST(AscendingQuality, SpreadsTheSourcesOfOneQualityEvenly) {
  const auto mixer = make({"ordinary", "ordinary", "high"}, 0).value();
  const PhaseMix mix = mix_of({0.6, 0.2, 0.2});
  for (uint64_t n = 0; n <= 2400; ++n) ASSERT_NEAR(static_cast<double>(mixer->counts(mix, n).value()[1]), static_cast<double>(n) / 4, 1);
}

std::string refusal(const std::vector<std::string> &qualities, const std::string &order) {
  const auto mixer = make(qualities, 0, order);
  if (mixer) return "";
  EXPECT_EQ(mixer.error().kind, ErrorKind::kRecipe);
  return mixer.error().message;
}

TEST(AscendingQuality, RefusesLabelsThatItCannotOrder) {
  EXPECT_TRUE(refusal({"ordinary", "hihg"}, "ordinary, high")
                  .ends_with("source \"of hihg\" has the quality \"hihg\", which is not in order = \"ordinary, high\""));
  for (const char *order : {"", "ordinary,", ",ordinary", "ordinary, , high"}) {
    EXPECT_NE(refusal({"ordinary"}, order).find("expected labels with commas between them"), std::string::npos) << order;
  }
  EXPECT_EQ(refusal({"ordinary", "high"}, "high,ordinary"), "");
}

}  // namespace
}  // namespace trainhost
