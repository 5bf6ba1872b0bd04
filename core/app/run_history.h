// What a run directory's metrics tell of the run.
#pragma once

#include <string>

#include "base/file_system.h"
#include "base/status.h"
#include "metrics/run_log.h"

namespace trainhost {

// Of a branch with what its trunk did before it: a decay is known by what it differs from. kUsage when the directory is none of a run;
// kData when the run wrote no metrics.
Result<RunLog> read_run(const std::string &directory, FileSystem &files);

}  // namespace trainhost
