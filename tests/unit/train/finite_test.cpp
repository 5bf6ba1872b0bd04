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

TEST(FirstNotFinite, FindsItInBfloat16) {
  std::vector<uint16_t> bits(200'001, 0x3fc0);
  const std::vector<NamedTensor> tensors{{.name = "moments", .shape = {200'001}, .values = bits}};
  for (const size_t place : {0, 65'536, 200'000}) {
    for (const uint16_t bad : {0x7f80, 0xff80, 0x7fc0, 0xff81}) {
      bits[place] = bad;
      EXPECT_EQ(first_not_finite(tensors), "moments") << place;
    }
    for (const uint16_t good : {0x7f7f, 0xff7f, 0x8000, 0x0001}) {
      bits[place] = good;
      EXPECT_EQ(first_not_finite(tensors), "") << place;
    }
  }
}

}  // namespace
}  // namespace trainhost
