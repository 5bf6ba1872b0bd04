#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

std::unique_ptr<Optimizer> with_ramp(const std::string &ramp, uint64_t steps) {
  return optimizer_under_test("ademamix", {{"ramp", ramp}}, steps);
}

// The slow average after updates [0, updates), all with gradient 1.
float slow_average(Optimizer &optimizer, uint64_t updates) {
  UpdatedParameter parameter(optimizer, {1.0f});
  parameter.gradient = {1.0f};
  const float scale = 1;
  for (uint64_t step = 0; step < updates; ++step) {
    const th_update whole = parameter.whole();
    EXPECT_TRUE(optimizer.update(call_at(step, scale), {&whole, 1}));
  }
  EXPECT_EQ(parameter.state_names[1], "exp_avg_slow");
  return parameter.states[1][0];
}

// A ramp of n updates ends with the n-th, whatever it is written in: 1 - beta3 is then that of the recipe.
TEST(AdEMAMix, CountsItsRampInUpdates) {
  constexpr float kLast = 1e-4f;
  EXPECT_NEAR(slow_average(*with_ramp("1 steps", 100), 1), kLast, 1e-9);
  EXPECT_NEAR(slow_average(*with_ramp("0 steps", 100), 1), kLast, 1e-9);
  for (const char *ramp : {"40 steps", "40%", "327680 tokens", "319489 tokens"}) {  // of 8192 tokens a step; the last begins step 40
    const auto optimizer = with_ramp(ramp, 100);
    const float before = slow_average(*optimizer, 38), at_39 = slow_average(*optimizer, 39), at_40 = slow_average(*optimizer, 40);
    EXPECT_NEAR((at_40 - at_39) / (1 - at_39), kLast, 2e-6) << ramp;
    // One update earlier the half-life is a fortieth of the way nearer to that of beta1.
    const auto half_life = [](double beta) { return std::log(0.5) / std::log(beta); };
    const double rest = 1 - std::pow(0.5, 1 / (half_life(0.9) / 40 + half_life(0.9999) * 39 / 40));
    EXPECT_NEAR((at_39 - before) / (1 - before), rest, 1e-6) << ramp;
  }
}

}  // namespace
}  // namespace trainhost
