// What all optimizers of whole tensors and matrices have in common.
#include <gtest/gtest.h>
#include <omp.h>

#include "unit/optimizers/optimizer_under_test.h"

namespace trainhost {
namespace {

class WholeTensorOptimizer : public testing::TestWithParam<std::string> {
 protected:
  void TearDown() override { omp_set_num_threads(threads_); }

 private:
  const int threads_ = omp_get_max_threads();
};

// Large enough that norms, means and products are cut over threads; a vector, a wide matrix, a tall one, an embedding.
std::vector<UpdatedParameter> updated_with(Optimizer &optimizer, int threads) {
  omp_set_num_threads(threads);
  std::vector<UpdatedParameter> parameters;
  parameters.emplace_back(optimizer, numbers(100'003, 1));
  parameters.emplace_back(optimizer, numbers(190 * 700, 2), "wide", std::vector<int64_t>{190, 700});
  parameters.emplace_back(optimizer, numbers(3'001 * 37, 3), "tall", std::vector<int64_t>{3'001, 37});
  parameters.emplace_back(optimizer, numbers(900 * 65, 4), "embedding", std::vector<int64_t>{900, 65}, TH_ROLE_EMBEDDING);
  const float scale = 0.7f;
  for (uint64_t step = 0; step < 2; ++step) {
    std::vector<th_update> updates;
    for (UpdatedParameter &parameter : parameters) {
      parameter.gradient = numbers(parameter.master.size(), static_cast<uint32_t>(10 + step));
      updates.push_back(parameter.whole());
    }
    EXPECT_TRUE(update(optimizer, call_at(step, scale), updates));
  }
  return parameters;
}

TEST_P(WholeTensorOptimizer, GivesTheSameBitsOnAnyNumberOfThreads) {
  const auto optimizer = optimizer_under_test(GetParam());
  const auto expected = updated_with(*optimizer, 1);
  for (const int threads : {2, 3, 7}) {
    const auto found = updated_with(*optimizer, threads);
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(found[i].master, expected[i].master) << threads << " threads, parameter " << i;
      EXPECT_EQ(found[i].states, expected[i].states) << threads << " threads, parameter " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, WholeTensorOptimizer, testing::Values("lamb", "adafactor", "schedule_free", "muon"),
                         [](const auto &info) { return info.param; });

}  // namespace
}  // namespace trainhost
