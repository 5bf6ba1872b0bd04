// A03: the mix as a function of the model's size, against its closed form and against a planted mixing law.
#include "recipe/mix_by_size.h"

#include <array>
#include <cmath>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

using Shares = std::map<std::string, double>;

const std::vector<SizedMix> kTable{{.parameters = 1'000'000, .shares = {{"code", 0.1}, {"web", 0.9}}},
                                   {.parameters = 100'000'000, .shares = {{"code", 0.3}, {"web", 0.5}, {"papers", 0.2}}},
                                   {.parameters = 200'000'000, .shares = {{"web", 1}}}};

TEST(MixBySize, HasTheRowsAtTheirSizes) {
  for (const SizedMix &row : kTable) EXPECT_EQ(mix_at_size(kTable, row.parameters), row.shares);
}

TEST(MixBySize, LiesOnALineInTheLogarithmBetweenRows) {
  const Shares middle = mix_at_size(kTable, 10'000'000);  // half of the way from 10^6 to 10^8
  ASSERT_EQ(middle.size(), 3u);
  EXPECT_NEAR(middle.at("code"), 0.2, 1e-12);
  EXPECT_NEAR(middle.at("web"), 0.7, 1e-12);
  EXPECT_NEAR(middle.at("papers"), 0.1, 1e-12);
  for (const uint64_t parameters : {1'000'001u, 1'234'567u, 31'622'777u, 99'999'999u, 141'421'356u, 199'999'999u}) {
    const size_t row = parameters < 100'000'000 ? 0 : 1;
    const auto low = static_cast<double>(kTable[row].parameters), high = static_cast<double>(kTable[row + 1].parameters);
    const double moved = std::log2(parameters / low) / std::log2(high / low);
    double sum = 0;
    for (const auto &[source, share] : mix_at_size(kTable, parameters)) {
      const auto of = [&](const SizedMix &mix) { return mix.shares.contains(source) ? mix.shares.at(source) : 0.0; };
      EXPECT_NEAR(share, of(kTable[row]) + moved * (of(kTable[row + 1]) - of(kTable[row])), 1e-9) << source << " at " << parameters;
      sum += share;
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(MixBySize, IsThatOfTheNearestRowOutside) {
  for (const uint64_t parameters : {0u, 1u, 999'999u}) EXPECT_EQ(mix_at_size(kTable, parameters), kTable.front().shares);
  for (const uint64_t parameters : {200'000'001u, 4'000'000'000u}) EXPECT_EQ(mix_at_size(kTable, parameters), kTable.back().shares);
}

// The bits of a logarithm are those of the machine's library; a resumed run must find its mix again on another one.
TEST(MixBySize, DoesNotDependOnTheLastBitsOfALogarithm) {
  const double moved = std::log(31'622'777.0 / 1e6) / std::log(100.0);
  const double rounded = std::round(moved * 1e9) * 1e-9;
  ASSERT_NE(moved, rounded);
  EXPECT_EQ(mix_at_size(kTable, 31'622'777).at("papers"), rounded * 0.2);
}

TEST(MixBySize, TakesThePlaceOfEveryTable) {
  Recipe recipe;
  recipe.phases.resize(2);
  recipe.phases[0].name = "stable";
  recipe.phases[0].overrides.mix = Shares{{"web", 1}};
  recipe.phases[1].name = "annealing";
  recipe.phases[1].overrides.mix_by_size = kTable;
  recipe.branches.resize(1);
  recipe.branches[0].name = "more code";
  recipe.branches[0].overrides.mix_by_size = {kTable[0], kTable[1]};
  ASSERT_TRUE(has_mix_by_size(recipe));
  const auto settled = settle_mixes(recipe, 150'000'000);
  EXPECT_FALSE(has_mix_by_size(recipe));
  EXPECT_EQ(recipe.phases[0].overrides.mix, (Shares{{"web", 1}}));
  EXPECT_EQ(recipe.phases[1].overrides.mix, mix_at_size(kTable, 150'000'000));
  EXPECT_EQ(recipe.branches[0].overrides.mix, kTable[1].shares);
  ASSERT_EQ(settled.size(), 2u);
  EXPECT_FALSE(settled[0].outside);
  EXPECT_EQ(
      settled[0].text,
      "phase \"annealing\": mix for 150000000 parameters without embeddings, between the rows of 100000000 and 200000000: code 0.1245, "
      "papers 0.0830, web 0.7925");  // log2(1.5) = 0.58496 of the way
  EXPECT_TRUE(settled[1].outside);
  EXPECT_EQ(
      settled[1].text,
      "branch \"more code\": mix for 150000000 parameters without embeddings, which is above the last row's 100000000, whose mix it has: "
      "code 0.3000, papers 0.2000, web 0.5000");
  EXPECT_TRUE(settle_mixes(recipe, 150'000'000).empty());
}

// The loss of each domain follows a mixing law, L_i = c_i + k_i exp(sum_j t_ij r_j) (arXiv 2403.16952); what code does for all domains
// grows with the logarithm of the model's size. Sources: web, code, papers.
class PlantedLaw {
 public:
  using Mix = std::array<double, 3>;

  explicit PlantedLaw(double parameters) {
    for (auto &of_domain : slope_) of_domain[1] -= 0.1 * std::log(parameters / 1e7);
  }

  // That of the least mean loss, by exponentiated gradient, whose steps stay among the mixes.
  Mix optimum() const {
    Mix mix{1.0 / 3, 1.0 / 3, 1.0 / 3};
    for (int step = 0; step < 20'000; ++step) {
      const Mix gradient = gradient_at(mix);
      double sum = 0;
      for (size_t j = 0; j < 3; ++j) sum += mix[j] *= std::exp(-0.05 * gradient[j]);
      for (double &share : mix) share /= sum;
    }
    return mix;
  }

  double loss(const Mix &mix) const {
    double mean = 0;
    for (size_t i = 0; i < 3; ++i) mean += (kFloor[i] + reducible(i, mix)) / 3;
    return mean;
  }

 private:
  double reducible(size_t domain, const Mix &mix) const {
    double exponent = 0;
    for (size_t j = 0; j < 3; ++j) exponent += slope_[domain][j] * mix[j];
    return kScale[domain] * std::exp(exponent);
  }
  Mix gradient_at(const Mix &mix) const {
    Mix gradient{};
    for (size_t i = 0; i < 3; ++i)
      for (size_t j = 0; j < 3; ++j) gradient[j] += slope_[i][j] * reducible(i, mix) / 3;
    return gradient;
  }

  static constexpr Mix kFloor{1.8, 0.9, 1.6}, kScale{1.5, 1.6, 1.2};
  std::array<Mix, 3> slope_{{{-3, -0.4, -0.5}, {-0.3, -3.5, -0.6}, {-0.5, -0.5, -2.5}}};
};

SizedMix row_of(uint64_t parameters) {
  const auto [web, code, papers] = PlantedLaw(static_cast<double>(parameters)).optimum();
  return {.parameters = parameters, .shares = {{"web", web}, {"code", code}, {"papers", papers}}};
}

TEST(MixBySize, FollowsAPlantedLawBetweenTheOptimaOfTwoSizes) {
  const std::vector<SizedMix> table{row_of(10'000'000), row_of(1'000'000'000)};
  const double small = table[0].shares.at("code"), large = table[1].shares.at("code");
  ASSERT_GT(large, small + 0.05) << "the law is planted so that a larger model wants more code";
  double before = small;
  for (const uint64_t parameters : {30'000'000u, 100'000'000u, 300'000'000u}) {
    const Shares mix = mix_at_size(table, parameters);
    const PlantedLaw law(static_cast<double>(parameters));
    for (const auto &[source, share] : row_of(parameters).shares)
      EXPECT_NEAR(mix.at(source), share, 0.03) << source << " at " << parameters;
    EXPECT_GT(mix.at("code"), before);
    before = mix.at("code");
    // And it is worth having: better than what either row would have given this size.
    const auto loss = [&](const Shares &shares) { return law.loss({shares.at("web"), shares.at("code"), shares.at("papers")}); };
    EXPECT_LT(loss(mix), loss(table[0].shares));
    EXPECT_LT(loss(mix), loss(table[1].shares));
  }
  EXPECT_LT(before, large);
}

}  // namespace
}  // namespace trainhost
