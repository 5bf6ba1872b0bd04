// A schedule plan as text for a terminal.
#pragma once

#include <string>

#include "plan/schedule_plan.h"

namespace trainhost {

// Learning rate, mix and batch over the token axis, 80 columns wide, with the phases' borders and names. blocks: whether the terminal shows
// Unicode's block characters; without them the same in ASCII.
std::string schedule_text(const SchedulePlan &plan, bool blocks);

}  // namespace trainhost
