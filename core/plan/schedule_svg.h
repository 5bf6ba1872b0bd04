// A schedule plan as a picture.
#pragma once

#include <string>

#include "plan/schedule_plan.h"

namespace trainhost {

// A whole SVG document that needs nothing else: learning rate, mix (stacked shares) and batch over the token axis, with axes, units, legend
// and the phases' borders and names. Each series is one element of the class "series" with its name in data-series.
std::string schedule_svg(const SchedulePlan &plan, const std::string &title);

}  // namespace trainhost
