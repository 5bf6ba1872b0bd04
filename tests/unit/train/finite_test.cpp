#include "train/finite.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

// What is found in three tensors, of which the second one is long and has that value there.
std::string found(size_t place, float value) {
  std::vector<float> least(3, -std::numeric_limits<float>::max()), values(200'001, 1.5F), most(3, std::numeric_limits<float>::max());
  values[place] = value;
  const std::vector<NamedTensor> tensors{{.name = "least", .shape = {3}, .values = least},
                                         {.name = "long", .shape = {200'001}, .values = values},
                                         {.name = "most", .shape = {3}, .values = most}};
  return first_not_finite(tensors);
}

TEST(FirstNotFinite, FindsItWhereverItIs) {
  for (const size_t place : {0, 65'535, 65'536, 200'000}) {
    for (const float value : {NAN, -NAN, INFINITY, -INFINITY}) EXPECT_EQ(found(place, value), "long") << place;
    for (const float value : {0.0F, -0.0F, 1e-45F, 3.4e38F}) EXPECT_EQ(found(place, value), "") << place;
  }
  EXPECT_EQ(first_not_finite({}), "");
}

}  // namespace
}  // namespace trainhost
