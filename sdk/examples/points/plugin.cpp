// The learning rate as a curve through points: peak_lr times a monotone cubic of the tokens so far (curve.cpp), or, with
// scale = "log", peak_lr times the exponential of one through the points' logarithms.
#include <trainhost/cpp/lr_scheduler.hpp>

#include <cmath>
#include <vector>

#include "curve.h"
#include "point_list.h"

namespace {

using namespace trainhost::sdk;

Curve curve_through(const std::vector<Point> &points, bool logarithmic) {
  std::vector<double> tokens, values;
  for (const Point &point : points) {
    if (logarithmic && point.value == 0) {
      throw Failure(TH_INVALID, "scale = \"log\" with a point of value 0, which has no logarithm; expected values above 0, as 0.001");
    }
    tokens.push_back(point.tokens);
    values.push_back(logarithmic ? std::log(point.value) : point.value);
  }
  return {std::move(tokens), std::move(values)};
}

class Points {
 public:
  Points(const Host &, const Config &config, const th_progress &run)
      : peak_(config.number("peak_lr")),
        logarithmic_(config.string("scale") == "log"),
        curve_(curve_through(parse_points(config, config.string("points"), static_cast<double>(run.total_tokens)), logarithmic_)) {}

  void values(const th_progress &now, th_schedule_values &out) const {
    const auto tokens = static_cast<double>(now.tokens);
    const double value = curve_.at(tokens);
    out.learning_rate = peak_ * (logarithmic_ ? std::exp(value) : value);
    out.stage = to_string(stage(curve_.direction(tokens)));
  }

 private:
  static std::string_view stage(int direction) { return direction > 0 ? "rise" : direction < 0 ? "decay" : "stable"; }

  double peak_;
  bool logarithmic_;
  Curve curve_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_LR_SCHEDULER, lr_scheduler_table<Points>)
