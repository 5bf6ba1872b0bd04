#include "data/input_report.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "base/log.h"

namespace trainhost {
namespace {

constexpr uint64_t kNamedOfAKind = 3;

std::string describe(InputFault fault, uint64_t count) {
  const auto of = [&](std::string_view one, std::string_view many) { return fmt::format("{} {}", count, count == 1 ? one : many); };
  switch (fault) {
    case InputFault::kEmptyFile:
      return of("empty file", "empty files");
    case InputFault::kBinaryFile:
      return of("binary file", "binary files");
    case InputFault::kInvalidUtf8:
      return of("line of invalid UTF-8", "lines of invalid UTF-8");
    case InputFault::kLongLine:
      return of("over-long line", "over-long lines");
    case InputFault::kMalformedJson:
      return of("line that is not JSON", "lines that are not JSON");
    case InputFault::kWrongShape:
      return of("line of the wrong shape", "lines of the wrong shape");
    case InputFault::kNoText:
      return of("line without text", "lines without text");
  }
  return {};
}

}  // namespace

Result<> InputReport::fault(InputFault fault, const std::string &file, int line, const std::string &message) {
  const std::string text = line == 0 ? fmt::format("{}: {}", file, message) : fmt::format("{}:{}: {}", file, line, message);
  if (source_->on_bad_input == "refuse") {
    return failure(ErrorKind::kData,
                   fmt::format("{}; source \"{}\" refuses bad input: mend the file, or set on_bad_input = \"skip\"", text, source_->name));
  }
  if (++counts_[fault] <= kNamedOfAKind && !silent_) log_warning(text + "; skipped");
  return {};
}

void InputReport::summarise() const {
  const bool unnamed = std::any_of(counts_.begin(), counts_.end(), [](const auto &entry) { return entry.second > kNamedOfAKind; });
  if (unnamed && !silent_) log_warning(fmt::format("source \"{}\": skipped {}", source_->name, summary()));
}

uint64_t InputReport::skipped() const {
  return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0}, [](uint64_t sum, const auto &entry) { return sum + entry.second; });
}

std::string InputReport::summary() const {
  std::string text;
  for (const auto &[fault, count] : counts_) text += (text.empty() ? "" : ", ") + describe(fault, count);
  return text;
}

}  // namespace trainhost
