#include <gtest/gtest.h>

#include "recipe/reader.h"

namespace trainhost {
namespace {

const std::vector<std::string> kKnown{"peak_lr", "warmup", "decay", "vocabulary_size", "cpu"};

TEST(NearestName, FindsSlipsOfThePen) {
  EXPECT_EQ(nearest_name("peek_lr", kKnown), "peak_lr");             // another letter
  EXPECT_EQ(nearest_name("peaklr", kKnown), "peak_lr");              // one missing
  EXPECT_EQ(nearest_name("warrmup", kKnown), "warmup");              // one too many
  EXPECT_EQ(nearest_name("dacey", kKnown), "");                      // two of five: not near
  EXPECT_EQ(nearest_name("deacy", kKnown), "decay");                 // neighbours swapped
  EXPECT_EQ(nearest_name("vocab_size", kKnown), "vocabulary_size");  // a third missing
  EXPECT_EQ(nearest_name("PEAK-LR", kKnown), "peak_lr");             // another case
}

TEST(NearestName, IsEmptyWhenNoneIsNear) {
  EXPECT_EQ(nearest_name("momentum", kKnown), "");
  EXPECT_EQ(nearest_name("", kKnown), "");
  EXPECT_EQ(nearest_name("warmup", {}), "");
  EXPECT_EQ(nearest_name("zh", {"en"}), "");
}

TEST(NearestName, TakesTheNearestAndTheFirstOfEquals) {
  EXPECT_EQ(nearest_name("texts", {"test", "text", "texas"}), "text");
  EXPECT_EQ(nearest_name("bat", {"cat", "hat"}), "cat");
}

}  // namespace
}  // namespace trainhost
