// The lines of a metrics file that a resumed run keeps.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trainhost {

struct JsonlHistory {
  std::string lines;       // whole lines, each with its newline
  bool has_begin = false;  // the run's first line is among them
};

// Drops what an undisturbed run would not have at `step`: lines of later steps, those of `step` whose kind is still to come, a torn last
// line and lines that are not ours.
JsonlHistory history_until(std::string_view contents, uint64_t step, const std::vector<std::string> &to_come);

}  // namespace trainhost
