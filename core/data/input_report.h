// What was wrong with a source's files, and what the policy says to do about it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/status.h"
#include "recipe/recipe.h"

namespace trainhost {

enum class InputFault { kEmptyFile, kBinaryFile, kInvalidUtf8, kLongLine, kMalformedJson, kWrongShape, kNoText };

// Counts faults of one source; under "refuse" the first one is an error, under "skip" the first three of a kind are warnings. Silent
// reports only count: each file is read more than once, and told of once. One thread.
class InputReport {
 public:
  InputReport(const Source &source, bool silent) : source_(&source), silent_(silent) {}

  // line 0: of the file as a whole. Success: go on after the faulty part.
  Result<> fault(InputFault fault, const std::string &file, int line, const std::string &message);
  // One warning with all counts, when more were skipped than were named.
  void summarise() const;

  uint64_t skipped() const;
  // "17 lines that are not JSON, 2 empty files"; empty when nothing was skipped.
  std::string summary() const;

 private:
  const Source *source_;
  bool silent_;
  std::map<InputFault, uint64_t> counts_;
};

}  // namespace trainhost
