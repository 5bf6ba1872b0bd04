// The console on any stream, so that tests can read what it writes.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>

#include "metrics/metrics.h"

namespace trainhost {

struct ConsoleMode {
  bool redraw = false;  // a terminal on which a line can be drawn again
  bool colour = false;
  std::function<size_t()> width;    // columns of the terminal
  std::function<double()> seconds;  // a clock that never goes back
};

// From what the stream is and the variables TERM and NO_COLOR (null: not set).
ConsoleMode console_mode(int descriptor, const char *term, const char *no_color);

// Writes to `out`, which must outlive it. While it lives it owns the log hooks of the process.
std::unique_ptr<Console> make_console(std::FILE *out, ConsoleMode mode);

}  // namespace trainhost
