// A28: Cosine(T) and CosineLoop(T) to 1e-12 at all borders; the loop has its maxima at 2kT.
#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "unit/lr_schedulers/schedule_under_test.h"

namespace trainhost {
namespace {

constexpr double kPeak = 0.01, kPi = std::numbers::pi;

// 1000 steps; warm-up over the first 20.
ScheduleUnderTest cosine(Settings settings = {}) {
  settings.insert({"peak_lr", kPeak});
  return {"cosine", 1000, settings};
}

double share(uint64_t numerator, uint64_t denominator) { return static_cast<double>(numerator) / static_cast<double>(denominator); }

// MiniCPM's Cosine(T) as its text describes it: 0.1 peak + 0.45 peak (1 + cos(pi s / T)).
TEST(Cosine, FollowsTheClosedFormCountedFromTheStart) {
  const auto schedule = cosine();
  for (uint64_t step = 0; step < 20; ++step) EXPECT_NEAR(schedule.lr(step), kPeak * share(step, 20), 1e-12) << step;
  for (uint64_t step = 20; step <= 1000; ++step) {
    EXPECT_NEAR(schedule.lr(step), 0.1 * kPeak + 0.45 * kPeak * (1 + std::cos(kPi * share(step, 1000))), 1e-12) << step;
  }
  EXPECT_NEAR(schedule.lr(1000), 0.1 * kPeak, 1e-15);
}

TEST(Cosine, DropsALittleAfterAWarmupThatItDoesNotCount) {
  const auto schedule = cosine();
  EXPECT_NEAR(schedule.lr(20), kPeak * (1 - 0.45 * (1 - std::cos(kPi * 0.02))), 1e-12);
}

TEST(Cosine, CountedFromTheWarmupStartsAtThePeakAndEndsAtTheFloor) {
  const auto schedule = cosine({{"count_from", "warmup"}, {"floor", 0.0}});
  EXPECT_EQ(schedule.lr(20), kPeak);
  for (uint64_t step = 20; step <= 1000; ++step) {
    EXPECT_NEAR(schedule.lr(step), kPeak * std::pow(std::cos(kPi / 2 * share(step - 20, 980)), 2), 1e-12) << step;
  }
  EXPECT_NEAR(schedule.lr(1000), 0, 1e-15);
}

TEST(Cosine, StaysAtTheFloorAfterItsPeriod) {
  const auto schedule = cosine({{"period", "50%"}, {"floor", 0.2}});
  EXPECT_GT(schedule.lr(499), 0.2 * kPeak);
  for (const uint64_t step : {500, 501, 750, 1000}) EXPECT_NEAR(schedule.lr(step), 0.2 * kPeak, 1e-15) << step;
}

TEST(Cosine, IsCutOffByTheEndOfAShorterRun) {
  const auto schedule = cosine({{"period", "125%"}});
  EXPECT_NEAR(schedule.lr(1000), 0.1 * kPeak + 0.45 * kPeak * (1 + std::cos(kPi * 0.8)), 1e-12);
}

TEST(CosineLoop, HasItsMaximaAtEvenAndMinimaAtOddMultiplesOfThePeriod) {
  const auto schedule = cosine({{"period", "100 steps"}, {"loop", true}});
  for (uint64_t k = 1; k <= 10; ++k) EXPECT_NEAR(schedule.lr(100 * k), k % 2 == 0 ? kPeak : 0.1 * kPeak, 1e-12) << k;
  for (uint64_t step = 20; step <= 1000; ++step) {
    EXPECT_NEAR(schedule.lr(step), 0.1 * kPeak + 0.45 * kPeak * (1 + std::cos(kPi * share(step, 100))), 1e-12) << step;
  }
  int maxima = 0;
  for (uint64_t step = 21; step < 1000; ++step)
    maxima += schedule.lr(step) > schedule.lr(step - 1) && schedule.lr(step) > schedule.lr(step + 1);
  EXPECT_EQ(maxima, 4);  // at 200, 400, 600 and 800
}

TEST(Cosine, NamesTheStages) {
  const auto once = cosine({{"period", "50%"}});
  EXPECT_EQ(once.stage(19), "warmup");
  EXPECT_EQ(once.stage(20), "decay");
  EXPECT_EQ(once.stage(500), "floor");
  const auto loop = cosine({{"period", "100 steps"}, {"loop", true}});
  EXPECT_EQ(loop.stage(99), "decay");
  EXPECT_EQ(loop.stage(100), "rise");
  EXPECT_EQ(loop.stage(200), "decay");
}

TEST(Cosine, GivesTheSameBitsInAnyOrder) {
  const auto one = cosine({{"loop", true}, {"period", "7%"}}), other = cosine({{"loop", true}, {"period", "7%"}});
  for (uint64_t step = 0; step < 1000; ++step) EXPECT_EQ(one.lr(step), other.lr(step));
  for (uint64_t step = 1000; step-- > 0;) EXPECT_EQ(one.lr(step), other.lr(step));
}

TEST(Cosine, RefusesAPeriodWithinTheWarmup) {
  const auto schedule = cosine({{"period", "1%"}});
  ASSERT_FALSE(schedule.created());
  EXPECT_EQ(schedule.error_kind(), ErrorKind::kRecipe);
  EXPECT_NE(schedule.error().find("period is 10000 tokens, warmup 20000 tokens"), std::string::npos) << schedule.error();
}

}  // namespace
}  // namespace trainhost
