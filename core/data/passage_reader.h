// Reads the passages of one file.
#pragma once

#include <memory>
#include <optional>

#include "base/status.h"
#include "data/document.h"
#include "data/input_report.h"
#include "data/source_files.h"

namespace trainhost {

// One thread. Faults go to the report; what stays after its policy is returned. Memory: a few times LineReader::kLongest at most.
class PassageReader {
 public:
  virtual ~PassageReader() = default;
  // The next passage with text in it; nothing after the last.
  virtual Result<std::optional<Passage>> next() = 0;
  virtual uint64_t bytes_read() const = 0;

  // answers_only: only answers count in the loss; lines without one are faults. `file` and `report` must outlive the reader.
  static Result<std::unique_ptr<PassageReader>> open(const SourceFile &file, bool answers_only, InputReport &report);
};

}  // namespace trainhost
