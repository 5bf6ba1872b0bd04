#include "metrics/jsonl_history.h"

#include <nlohmann/json.hpp>

namespace trainhost {

JsonlHistory history_until(std::string_view contents, uint64_t step) {
  JsonlHistory kept;
  for (size_t end; (end = contents.find('\n')) != std::string_view::npos; contents.remove_prefix(end + 1)) {
    const std::string_view line = contents.substr(0, end);
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    if (!parsed.is_object()) continue;
    const bool begin = parsed.value("kind", "") == "begin";
    if (!begin && parsed.value("step", UINT64_MAX) > step) continue;
    kept.has_begin |= begin;
    kept.lines.append(line) += '\n';
  }
  return kept;
}

}  // namespace trainhost
