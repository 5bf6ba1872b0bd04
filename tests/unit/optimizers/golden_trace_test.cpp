#include "unit/optimizers/golden_traces.h"

namespace trainhost {
namespace {

// A29, A30.
TEST(GoldenTrace, IsFollowedByEveryOptimizer) {
  const float scale = 1;
  expect_golden_traces([&](const TracedOptimizer &, Optimizer &optimizer, UpdatedParameter &parameter, uint64_t step) {
    const th_update whole = parameter.whole();
    ASSERT_TRUE(update(optimizer, call_at(step, scale), {&whole, 1}));
  });
}

}  // namespace
}  // namespace trainhost
