// The text that a recipe gives for the curve: "0%: 0, 500 steps: 1, 50M tokens: 1, 100%: 0.1".
#pragma once

#include <string_view>
#include <vector>

#include <trainhost/cpp/plugin.hpp>

struct Point {
  double tokens;  // from the start of the run
  double value;   // a share of the peak; finite, >= 0
};

// At least two points, each after the one before and none beyond the run. config places their positions on the token axis. Throws
// trainhost::sdk::Failure, which says at which character what was found and what was expected.
std::vector<Point> parse_points(const trainhost::sdk::Config &config, std::string_view text, double run_tokens);
