// `trainhost report`: what training did in each phase of a run, going on or finished.
#pragma once

#include <ostream>
#include <string>

#include "base/file_system.h"
#include "base/status.h"

namespace trainhost {

struct ReportQuery {
  std::string directory;  // of a run or a branch
  bool json = false;
};

// Reads the metrics of the run, and of a branch those of its trunk up to where it begins; changes nothing, so it may run beside a training.
// kUsage where there is no run, kData where it wrote no metrics.jsonl.
Result<> print_report(const ReportQuery &query, FileSystem &files, std::ostream &out);

}  // namespace trainhost
