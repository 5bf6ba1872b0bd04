#include <functional>

#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

constexpr size_t kCount = 100'003;  // several blocks and threads, and a rest that fills no vector

UpdatedParameter parameter_for(const Optimizer &optimizer) {
  UpdatedParameter parameter(optimizer, numbers(kCount, 1));
  parameter.gradient = numbers(kCount, 2);
  return parameter;
}

void run(Optimizer &optimizer, UpdatedParameter &parameter, const std::vector<size_t> &cuts, uint64_t steps = 3) {
  const float scale = 0.75f;
  for (uint64_t step = 0; step < steps; ++step) {
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      const th_update update = parameter.piece(cuts[i], cuts[i + 1] - cuts[i]);
      ASSERT_TRUE(optimizer.update(call_at(step, scale), {&update, 1}));
    }
  }
}

TEST(AdamW, KeepsTwoMomentsOfTheParametersShape) {
  const auto optimizer = optimizer_under_test("adamw");
  EXPECT_EQ(optimizer->granularity(), TH_GRANULARITY_ELEMENT);
  const th_parameter_info info{};
  const auto states = optimizer->describe_states(info).value();
  ASSERT_EQ(states.size(), 2u);
  EXPECT_EQ(states[0].name, "exp_avg");
  EXPECT_EQ(states[1].name, "exp_avg_sq");
  for (const auto &state : states) EXPECT_TRUE(state.like_parameter && state.initial == 0);
}

TEST(AdamW, GivesTheSameBitsHoweverAParameterIsCut) {
  const auto optimizer = optimizer_under_test("adamw");
  auto whole = parameter_for(*optimizer), pieces = parameter_for(*optimizer);
  run(*optimizer, whole, {0, kCount});
  run(*optimizer, pieces, {0, 1, 8, 8, 2049, 2054, 50'000, 99'999, kCount});
  EXPECT_EQ(whole.master, pieces.master);
  EXPECT_EQ(whole.states, pieces.states);
}

TEST(AdamW, UpdatesManyParametersInOneCallAsOneByOne) {
  const auto optimizer = optimizer_under_test("adamw");
  std::vector<UpdatedParameter> together, alone;
  for (const size_t count : {1u, 7u, 2048u, 40'000u, 3u}) {
    for (auto *list : {&together, &alone}) {
      list->emplace_back(*optimizer, numbers(count, 5));
      list->back().gradient = numbers(count, 6);
    }
  }
  std::vector<th_update> updates;
  for (auto &parameter : together) updates.push_back(parameter.whole());
  const float scale = 1;
  ASSERT_TRUE(optimizer->update(call_at(0, scale), updates));
  for (size_t i = 0; i < alone.size(); ++i) {
    const th_update update = alone[i].whole();
    ASSERT_TRUE(optimizer->update(call_at(0, scale), {&update, 1}));
    EXPECT_EQ(together[i].master, alone[i].master) << i;
  }
}

TEST(AdamW, ScalesGradientsBeforeAnythingElse) {
  const auto optimizer = optimizer_under_test("adamw");
  auto scaled = parameter_for(*optimizer), halved = parameter_for(*optimizer);
  for (float &g : halved.gradient) g /= 2;
  const float half = 0.5f, one = 1;
  const th_update first = scaled.whole(), second = halved.whole();
  ASSERT_TRUE(optimizer->update(call_at(0, half), {&first, 1}));
  ASSERT_TRUE(optimizer->update(call_at(0, one), {&second, 1}));
  EXPECT_EQ(scaled.master, halved.master);
  EXPECT_EQ(scaled.states, halved.states);
}

// The decay of a parameter does not see the gradient: with none it is p (1 - lr weight_decay multiplier)^steps.
TEST(AdamW, DecaysByTheMultiplierAlone) {
  for (const double multiplier : {0.0, 0.5, 1.0}) {
    const auto optimizer = optimizer_under_test("adamw", {{"weight_decay", 0.2}});
    UpdatedParameter parameter(*optimizer, {2.0f});
    parameter.weight_decay_multiplier = multiplier;
    run(*optimizer, parameter, {0, 1}, 10);
    EXPECT_NEAR(parameter.master[0], 2 * std::pow(1 - 0.01 * 0.2 * multiplier, 10), 1e-6) << multiplier;
  }
}

TEST(AdamW, LetsTheSchedulesMomentumReplaceBeta1) {
  const auto own = optimizer_under_test("adamw", {{"beta1", 0.5}}), given = optimizer_under_test("adamw", {{"beta1", 0.9}});
  auto left = parameter_for(*own), right = parameter_for(*given);
  const float scale = 1;
  for (uint64_t step = 0; step < 3; ++step) {
    const th_update first = left.whole(), second = right.whole();
    ASSERT_TRUE(own->update(call_at(step, scale), {&first, 1}));
    ASSERT_TRUE(given->update(call_at(step, scale, 0.5), {&second, 1}));
  }
  EXPECT_EQ(left.master, right.master);
}

TEST(AdamW, WritesTheComputeCopyRoundedToNearestEven) {
  const auto optimizer = optimizer_under_test("adamw", {{"weight_decay", 0.0}});
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  // 1 + 2^-8 lies between two bfloat16 numbers: to the even 1; 1 + 3 x 2^-8: to the even 1 + 2^-6.
  UpdatedParameter parameter(*optimizer, {1.0f, 1.00390625f, 1.01171875f, 1.00390637f, -0.0f, infinity, 3.4e38f, nan});
  parameter.with_compute_copy = true;
  parameter.learning_rate = 0;
  run(*optimizer, parameter, {0, parameter.master.size()}, 1);
  const std::vector<uint16_t> expected = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0x8000, 0x7f80, 0x7f80, 0x7fc0};
  EXPECT_EQ(parameter.compute_copy, expected);
}

// The second of two parameters is wrong in some way; neither may have changed.
void expect_refusal(const std::function<void(th_update &)> &spoil, const std::string &text) {
  const auto optimizer = optimizer_under_test("adamw");
  UpdatedParameter good(*optimizer, {1, 2, 3}, "good"), bad(*optimizer, {1, 2, 3}, "layers.0.bad");
  good.gradient = bad.gradient = {1, 1, 1};
  th_update updates[] = {good.whole(), bad.whole()};
  std::vector<th_tensor> states(updates[1].states, updates[1].states + 2);
  updates[1].states = states.data();
  spoil(updates[1]);
  const float scale = 1;
  const auto result = optimizer->update(call_at(0, scale), updates);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("parameter \"layers.0.bad\""), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
  EXPECT_EQ(good.master, (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(good.states[0], (std::vector<float>{0, 0, 0}));
}

TEST(AdamW, RefusesAllWhenOneTensorIsWrong) {
  static int64_t two = 2, strides = 2;
  expect_refusal([](th_update &update) { update.gradient.dtype_bits = 16; }, "the gradient of");
  expect_refusal([](th_update &update) { update.master.device_type = TH_DEVICE_CUDA; }, "is on CUDA device 0; expected the CPU");
  expect_refusal([](th_update &update) { update.gradient.shape = &two; }, "has shape [2]; expected [3]");
  expect_refusal([](th_update &update) { update.gradient.strides = &strides; }, "is not contiguous");
  expect_refusal([](th_update &update) { update.master.data = nullptr; }, "has no data");
  expect_refusal([](th_update &update) { const_cast<th_tensor *>(update.states)[1].dtype_code = TH_DTYPE_INT; }, "state exp_avg_sq of");
  expect_refusal([](th_update &update) { update.compute_copy.data = update.master.data, update.compute_copy.dtype_bits = 32; },
                 "the compute copy of");
}

TEST(AdamW, RefusesAMomentumOutOfRange) {
  const auto optimizer = optimizer_under_test("adamw");
  UpdatedParameter parameter(*optimizer, {1});
  const th_update update = parameter.whole();
  const float scale = 1;
  EXPECT_FALSE(optimizer->update(call_at(0, scale, 1.0), {&update, 1}));
  EXPECT_FALSE(optimizer->update(call_at(0, scale, -0.1), {&update, 1}));
}

}  // namespace
}  // namespace trainhost
