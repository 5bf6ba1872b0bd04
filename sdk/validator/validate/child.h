// A check in a process of its own, so that nothing a plugin does ends the others.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/status.h"

namespace trainhost::validator {

struct Outcome {
  enum class Kind { kPassed, kFailed, kSkipped };
  Kind kind = Kind::kPassed;
  std::string text;    // why it failed or was skipped
  double seconds = 0;  // that it took
};

// A check that does not concern this plugin returns this: "the plugin has no extension ...".
tl::unexpected<Error> not_concerned(std::string why);

// What the process is doing, for the case that it is ended there: "update number 3".
void doing(std::string_view what);

// Runs the check in a child process. A child that crashes, ends by itself, or is not done within the limit has failed, and the text says
// how and what it was doing. One thread, of a process that has no other.
Outcome run_in_child(const std::function<Result<>()> &check, std::chrono::seconds limit);

}  // namespace trainhost::validator
