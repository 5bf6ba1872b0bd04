#include "metrics/jsonl_history.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace trainhost {

JsonlHistory history_until(std::string_view contents, uint64_t step, const std::vector<std::string> &to_come) {
  JsonlHistory kept;
  for (size_t end; (end = contents.find('\n')) != std::string_view::npos; contents.remove_prefix(end + 1)) {
    const std::string_view line = contents.substr(0, end);
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    if (!parsed.is_object()) continue;
    const std::string kind = parsed.value("kind", "");
    const bool begin = kind == "begin";
    const uint64_t at = parsed.value("step", UINT64_MAX);
    if (!begin && (at > step || (at == step && std::ranges::find(to_come, kind) != to_come.end()))) continue;
    kept.has_begin |= begin;
    kept.lines.append(line) += '\n';
  }
  return kept;
}

}  // namespace trainhost
