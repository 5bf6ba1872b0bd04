#include "unit/optimizers/golden_traces.h"

namespace trainhost {
namespace {

TEST(GoldenTrace, IsFollowedByEveryOptimizer) {
  const float scale = 1;
  expect_golden_traces([&](const TracedOptimizer &, Optimizer &optimizer, UpdatedParameter &parameter, uint64_t step) {
    const th_update update = parameter.whole();
    ASSERT_TRUE(optimizer.update(call_at(step, scale), {&update, 1}));
  });
}

}  // namespace
}  // namespace trainhost
