#include <gtest/gtest.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

constexpr size_t kCount = 70'001;

TEST(Sgd, KeepsABufferOnlyForMomentum) {
  const th_parameter_info info{};
  EXPECT_TRUE(optimizer_under_test("sgd")->describe_states(info)->empty());
  const auto states = optimizer_under_test("sgd", {{"momentum", 0.9}})->describe_states(info).value();
  ASSERT_EQ(states.size(), 1u);
  EXPECT_EQ(states[0].name, "momentum_buffer");
}

TEST(Sgd, GivesTheSameBitsHoweverAParameterIsCut) {
  for (const double momentum : {0.0, 0.9}) {
    const auto optimizer = optimizer_under_test("sgd", {{"momentum", momentum}, {"weight_decay", 0.1}});
    UpdatedParameter whole(*optimizer, numbers(kCount, 1)), pieces(*optimizer, numbers(kCount, 1));
    whole.gradient = pieces.gradient = numbers(kCount, 2);
    const float scale = 0.3f;
    for (uint64_t step = 0; step < 3; ++step) {
      const th_update all = whole.whole();
      ASSERT_TRUE(optimizer->update(call_at(step, scale), {&all, 1}));
      for (size_t first = 0; first < kCount; first += 3'333) {
        const th_update piece = pieces.piece(first, std::min<size_t>(3'333, kCount - first));
        ASSERT_TRUE(optimizer->update(call_at(step, scale), {&piece, 1}));
      }
    }
    EXPECT_EQ(whole.master, pieces.master);
    EXPECT_EQ(whole.states, pieces.states);
  }
}

TEST(Sgd, TakesTheSchedulesMomentum) {
  const auto optimizer = optimizer_under_test("sgd", {{"momentum", 0.9}});
  UpdatedParameter parameter(*optimizer, {0.0f});
  parameter.gradient = {1.0f};
  parameter.learning_rate = 1;
  const float scale = 1;
  for (uint64_t step = 0; step < 2; ++step) {
    const th_update update = parameter.whole();
    ASSERT_TRUE(optimizer->update(call_at(step, scale, 0.5), {&update, 1}));
  }
  EXPECT_FLOAT_EQ(parameter.master[0], -(1 + 1.5f));
}

TEST(Sgd, RefusesAMomentumThatItKeepsNoBufferFor) {
  const auto optimizer = optimizer_under_test("sgd");
  UpdatedParameter parameter(*optimizer, {1});
  const th_update update = parameter.whole();
  const float scale = 1;
  const auto result = optimizer->update(call_at(0, scale, 0.5), {&update, 1});
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("no buffer"), std::string::npos) << result.error().message;
}

TEST(Sgd, RefusesNesterovWithoutMomentum) {
  const auto created = Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "sgd", {{"nesterov", true}}));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().kind, ErrorKind::kRecipe);
}

}  // namespace
}  // namespace trainhost
