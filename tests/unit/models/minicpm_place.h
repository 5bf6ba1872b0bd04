// Where and how minicpm computes under a test: each test program has its own list.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/model_runner.h"

namespace trainhost {

struct MinicpmPlace {
  std::string name;
  std::string plugin;  // as plugin_under_test takes it
  bool bfloat16 = false;

  friend std::ostream &operator<<(std::ostream &out, const MinicpmPlace &place) { return out << place.name; }

  // What float32 must keep, or for bfloat16, of which an item has 8 bits, so much more.
  double tolerance(double float32, double bfloat16_tolerance) const { return bfloat16 ? bfloat16_tolerance : float32; }
};

// Defined by the test program.
std::vector<MinicpmPlace> minicpm_places();
// The device of a place; throws std::runtime_error where there is none.
Device &device_of(const MinicpmPlace &place);
// Why a place's tests cannot run here; empty: they can.
std::string why_not(const MinicpmPlace &place);

inline std::string name_of(const testing::TestParamInfo<MinicpmPlace> &info) { return info.param.name; }

}  // namespace trainhost
