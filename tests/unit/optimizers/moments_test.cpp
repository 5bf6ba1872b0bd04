// Moments of bfloat16: how they are rounded, and what optimizers do with them.
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include <gtest/gtest.h>

#include "elementwise/bfloat16.hpp"
#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

constexpr double kSigmas = 5;

float to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
double ulp_of(double value) { return std::ldexp(1.0, std::ilogb(value) - 7); }  // the distance of bfloat16 numbers about it

std::vector<float> floats_of(const std::vector<uint16_t> &bits) {
  std::vector<float> values(bits.size());
  std::ranges::transform(bits, values.begin(), to_float);
  return values;
}

std::vector<uint16_t> rounded(const std::vector<float> &values, const std::vector<float> &salts, uint64_t step, size_t state = 0) {
  std::vector<uint16_t> bits(values.size());
  round_stochastically(rounding_key(step, state), values.data(), salts.data(), bits.data(), static_cast<int64_t>(bits.size()));
  return bits;
}

void expect_share(double found, double probability, double draws, const std::string &what) {
  EXPECT_NEAR(found, draws * probability, kSigmas * std::sqrt(draws * probability * (1 - probability))) << what;
}

// What lies a share of the way from one bfloat16 to the next goes up with that probability, whichever of the inputs varies.
TEST(RoundingAtRandom, HasTheRightMean) {
  constexpr size_t kDraws = 1 << 20;
  for (const uint16_t base : {0x3f80, 0xbf80, 0x0001, 0x4b12, 0xc2c7}) {
    for (const uint32_t low : {0x0001u, 0x0083u, 0x4000u, 0x8000u, 0x8001u, 0xffffu}) {
      const std::string what = std::to_string(base) + " and " + std::to_string(low) + " of 65536";
      const std::vector<float> values(kDraws, std::bit_cast<float>(uint32_t{base} << 16 | low));
      std::vector<float> salts(kDraws);
      for (uint32_t i = 0; i < kDraws; ++i) salts[i] = std::bit_cast<float>(0x3a000000 + i);  // numbers next to each other
      const auto ups = [&](const std::vector<uint16_t> &bits) { return std::ranges::count(bits, base + 1); };
      expect_share(ups(rounded(values, salts, 7)), low / 65536.0, kDraws, what + " by the gradient");

      constexpr size_t kSteps = 1 << 16;
      int64_t by_step = 0, both = 0;
      for (uint64_t step = 0; step < kSteps; ++step) {
        const bool first = rounded({values[0]}, {salts[0]}, step)[0] != base, second = rounded({values[0]}, {salts[0]}, step, 1)[0] != base;
        by_step += first;
        both += first && second;
      }
      expect_share(by_step, low / 65536.0, kSteps, what + " by the step");
      expect_share(both, low / 65536.0 * low / 65536.0, kSteps, what + " in two states");
    }
  }
  // Of many values with one gradient, as of an embedding's rows without any.
  std::vector<float> values, salts(1 << 20, 0.0f);
  for (uint32_t i = 0; i < salts.size(); ++i) values.push_back(std::bit_cast<float>(0x30005000 + (i << 8)));
  const std::vector<uint16_t> bits = rounded(values, salts, 3);
  double up = 0, expected = 0, variance = 0;
  for (size_t i = 0; i < bits.size(); ++i) {
    const double share = (std::bit_cast<uint32_t>(values[i]) & 0xffff) / 65536.0;
    up += bits[i] != std::bit_cast<uint32_t>(values[i]) >> 16;
    expected += share;
    variance += share * (1 - share);
  }
  EXPECT_NEAR(up, expected, kSigmas * std::sqrt(variance)) << "by the value";
}

TEST(RoundingAtRandom, LeavesWhatIsABfloat16) {
  std::vector<uint16_t> bits;
  for (uint32_t i = 0; i < 0x10000; ++i) {
    if ((i & 0x7fff) <= 0x7f80) bits.push_back(static_cast<uint16_t>(i));  // infinity too
  }
  const std::vector<float> values = floats_of(bits);
  for (uint64_t step = 0; step < 50; ++step) EXPECT_EQ(rounded(values, numbers(values.size(), 3), step), bits) << step;
  std::vector<float> widened(bits.size());
  widen_bfloat16(bits.data(), widened.data(), static_cast<int64_t>(bits.size()));
  EXPECT_EQ(std::memcmp(widened.data(), values.data(), values.size() * sizeof(float)), 0);
}

TEST(RoundingAtRandom, NeverGoesPastTheNeighbours) {
  uint32_t seed = 1;
  for (uint64_t step = 0; step < 50; ++step) {
    std::vector<float> values(20'011);
    for (float &value : values) value = std::bit_cast<float>(seed = seed * 1664525 + 1013904223);
    const std::vector<uint16_t> bits = rounded(values, numbers(values.size(), 3), step);
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) {
        ASSERT_TRUE(std::isnan(to_float(bits[i])));
        continue;
      }
      const uint32_t lower = std::bit_cast<uint32_t>(values[i]) >> 16;
      ASSERT_TRUE(bits[i] == lower || bits[i] == lower + 1) << values[i] << " becomes " << to_float(bits[i]);
    }
  }
  // NaNs whose upper half alone would be infinity, and whose carry would be another number.
  for (const uint32_t nan : {0x7f800001u, 0xff80ffffu, 0x7fffffffu, 0xffffffffu})
    EXPECT_TRUE(std::isnan(to_float(rounded({std::bit_cast<float>(nan)}, {1}, 0)[0]))) << nan;
}

struct Variant {
  std::string plugin;
  std::map<std::string, ParameterValue> parameters;
};

// Every shipped optimizer with moments, of both storages.
std::vector<Variant> variants(const std::string &moments) {
  std::vector<Variant> all;
  for (const char *plugin : {"adam", "adamw", "lion", "ademamix", "lamb", "muon"}) all.push_back({plugin, {{"moments", moments}}});
  for (const bool nesterov : {false, true}) all.push_back({"sgd", {{"momentum", 0.9}, {"nesterov", nesterov}, {"moments", moments}}});
  return all;
}

class Moments : public testing::Test {
 protected:
  void update(Optimizer &optimizer, UpdatedParameter &parameter, uint64_t step) {
    const th_update whole = parameter.whole();
    const auto result = trainhost::update(optimizer, call_at(step, scale_), {&whole, 1});
    ASSERT_TRUE(result) << result.error().message;
  }
  const float scale_ = 1;
};

TEST_F(Moments, AreOfTheTypeThatTheRecipeNames) {
  for (const char *moments : {"float32", "bfloat16"}) {
    for (const auto &[plugin, parameters] : variants(moments)) {
      const UpdatedParameter parameter(*optimizer_under_test(plugin, parameters), std::vector<float>(6), "weight", {2, 3});
      EXPECT_FALSE(parameter.states.empty()) << plugin;
      for (const auto &bits : parameter.bfloat16_states) EXPECT_EQ(bits.size(), moments == std::string("bfloat16") ? 6u : 0u) << plugin;
    }
  }
  EXPECT_EQ(optimizer_under_test("adamw")->describe_states(th_parameter_info{}).value()[0].type, ElementType::kFloat32);
}

// The first step is taken with the moments of float32, and what is kept of them lies between the neighbours.
TEST_F(Moments, OfBfloat16AreThoseOfFloat32RoundedOnce) {
  const auto precise = variants("float32"), rounded = variants("bfloat16");
  for (size_t v = 0; v < precise.size(); ++v) {
    const auto &plugin = precise[v].plugin;
    const std::vector<int64_t> shape{61, 67};
    const auto first = optimizer_under_test(plugin, precise[v].parameters), second = optimizer_under_test(plugin, rounded[v].parameters);
    UpdatedParameter a(*first, numbers(61 * 67, 1), "weight", shape), b(*second, numbers(61 * 67, 1), "weight", shape);
    a.gradient = b.gradient = numbers(61 * 67, 2);
    update(*first, a, 0);
    update(*second, b, 0);
    if (plugin != "lamb") {  // which takes its direction from what is kept
      EXPECT_EQ(a.master, b.master) << plugin;
    }
    for (size_t state = 0; state < a.states.size(); ++state) {
      double error = 0, all = 0;
      for (size_t i = 0; i < a.master.size(); ++i) {
        const uint32_t lower = std::bit_cast<uint32_t>(a.states[state][i]) >> 16;
        ASSERT_TRUE(b.bfloat16_states[state][i] == lower || b.bfloat16_states[state][i] == lower + 1) << plugin;
        error += double{to_float(b.bfloat16_states[state][i])} - double{a.states[state][i]};
        all += std::abs(double{a.states[state][i]});
      }
      EXPECT_LT(std::abs(error / all), 2e-3) << plugin << ", state " << state;  // a bias would be 2^-9 and more
    }
  }
}

// The first step in double precision: m = (1 - beta1) g, v = (1 - beta2) g^2.
TEST_F(Moments, OfAdamWAreWithinOneUnitOfTheFormula) {
  constexpr size_t kCount = 30'011;
  const auto adamw = optimizer_under_test("adamw", {{"moments", std::string("bfloat16")}});
  UpdatedParameter parameter(*adamw, numbers(kCount, 1));
  parameter.gradient = numbers(kCount, 2);
  update(*adamw, parameter, 0);
  const auto first = floats_of(parameter.bfloat16_states[0]), second = floats_of(parameter.bfloat16_states[1]);
  for (size_t i = 0; i < kCount; ++i) {
    const double g = double{parameter.gradient[i]}, m = 0.1 * g, v = 0.05 * g * g;
    ASSERT_LT(std::abs(double{first[i]} - m), ulp_of(m) * (1 + 1e-5)) << i;
    ASSERT_LT(std::abs(double{second[i]} - v), ulp_of(v) * (1 + 1e-5)) << i;
  }
}

// v = (1 - beta2^t) g^2. To nearest it would stand still as soon as (1 - beta2)(g^2 - v) is below half of its last place, at about a
// third of that. Rounding is a sum of independent errors of mean 0: at step i it has at most the variance u d, where u is the last place
// and d = (1 - beta2) beta2^i g^2 what is added, and decays with beta2; altogether u beta2^t g^2 at most, of an element, and of the mean
// of n elements the n-th of it.
TEST_F(Moments, OfAConstantGradientConvergeToTheClosedForm) {
  constexpr size_t kCount = 4'096;
  const double beta2 = 0.999;
  const auto adamw = optimizer_under_test("adamw", {{"beta2", beta2}, {"moments", std::string("bfloat16")}});
  UpdatedParameter parameter(*adamw, std::vector<float>(kCount));
  for (size_t i = 0; i < kCount; ++i) parameter.gradient[i] = 0.5f + static_cast<float>(i) / kCount;
  for (uint64_t step = 0; step < 2'000; ++step) {
    update(*adamw, parameter, step);
    const double t = static_cast<double>(step) + 1;
    if ((step + 1) % 500 != 0) continue;
    const auto second = floats_of(parameter.bfloat16_states[1]);
    double sum = 0, variance = 0;
    for (size_t i = 0; i < kCount; ++i) {
      const double square = double{parameter.gradient[i]} * double{parameter.gradient[i]}, expected = (1 - std::pow(beta2, t)) * square;
      sum += double{second[i]} / expected - 1;
      variance += 2 * ulp_of(expected) * std::pow(beta2, t) * square / (expected * expected);  // an element may be past a power of 2
    }
    std::printf("step %4.0f: the mean is off by %+.2e, %.2e allowed\n", t, sum / kCount, kSigmas * std::sqrt(variance) / kCount);
    EXPECT_NEAR(sum / kCount, 0, kSigmas * std::sqrt(variance) / kCount) << "step " << t;
  }
}

TEST_F(Moments, OfBfloat16DoNotDependOnHowAParameterIsCut) {
  constexpr size_t kCount = 70'001;
  for (const auto &[plugin, parameters] : variants("bfloat16")) {
    const auto optimizer = optimizer_under_test(plugin, parameters);
    if (optimizer->granularity() != TH_GRANULARITY_ELEMENT) continue;
    UpdatedParameter whole(*optimizer, numbers(kCount, 1)), pieces(*optimizer, numbers(kCount, 1));
    for (uint64_t step = 0; step < 3; ++step) {
      whole.gradient = pieces.gradient = numbers(kCount, static_cast<uint32_t>(step) + 2);
      update(*optimizer, whole, step);
      for (size_t first = 0; first < kCount; first += 3'333) {
        const th_update piece = pieces.piece(first, std::min<size_t>(3'333, kCount - first));
        ASSERT_TRUE(optimizer->update(call_at(step, scale_), {&piece, 1}));
      }
    }
    EXPECT_EQ(whole.master, pieces.master) << plugin;
    EXPECT_EQ(whole.bfloat16_states, pieces.bfloat16_states) << plugin;
  }
}

// States of the other type are refused before anything has changed.
TEST_F(Moments, OfAnotherTypeAreRefused) {
  for (const auto &[plugin, parameters] : variants("bfloat16")) {
    const auto optimizer = optimizer_under_test(plugin, parameters);
    UpdatedParameter parameter(*optimizer, {1, 2, 3, 4}, "weight", {2, 2});
    parameter.gradient = {1, 1, 1, 1};
    const th_update whole = parameter.whole();
    const_cast<th_tensor *>(whole.states)[0].dtype_bits = 32;
    const auto result = trainhost::update(*optimizer, call_at(0, scale_), {&whole, 1});
    ASSERT_FALSE(result) << plugin;
    EXPECT_NE(result.error().message.find("has dtype code 4 with 32 bits; expected code 4 with 16 bits"), std::string::npos)
        << result.error().message;
    EXPECT_EQ(parameter.master, (std::vector<float>{1, 2, 3, 4}));
  }
}

}  // namespace
}  // namespace trainhost
