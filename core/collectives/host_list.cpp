#include "collectives/host_list.h"

#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace trainhost {
namespace {

constexpr size_t kMostHosts = 65536;  // as in Slurm

template <class... Arguments>
tl::unexpected<Error> bad(fmt::format_string<Arguments...> text, Arguments &&...arguments) {
  return failure(ErrorKind::kUsage, fmt::format(text, std::forward<Arguments>(arguments)...));
}

std::optional<uint32_t> number_in(std::string_view digits) {
  uint32_t value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || problem != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// The parts between the commas that stand outside brackets.
Result<std::vector<std::string_view>> split_at_commas(std::string_view text) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  bool in_brackets = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '[' || text[at] == ']') {
      if (in_brackets == (text[at] == '[')) return bad("\"{}\" has brackets that do not match", text);
      in_brackets = text[at] == '[';
    } else if (text[at] == ',' && !in_brackets) {
      parts.push_back(text.substr(begin, at - begin));
      begin = at + 1;
    }
  }
  if (in_brackets) return bad("\"{}\" has brackets that do not match", text);
  parts.push_back(text.substr(begin));
  return parts;
}

// "08-10" -> 08 09 10; "12" -> 12.
Result<std::vector<std::string>> expand_range(std::string_view range) {
  const size_t dash = range.find('-');
  const std::string_view first = range.substr(0, dash);
  const auto from = number_in(first), to = dash == std::string_view::npos ? from : number_in(range.substr(dash + 1));
  if (!from || !to) return bad("\"{}\" is no number and no range of numbers", range);
  if (*from > *to) return bad("the range \"{}\" goes down", range);
  if (*to - *from >= kMostHosts) return bad("the range \"{}\" has more than {} hosts", range, kMostHosts);
  std::vector<std::string> numbers;
  for (uint32_t number = *from; numbers.size() <= *to - *from; ++number) numbers.push_back(fmt::format("{:0{}}", number, first.size()));
  return numbers;
}

Result<std::vector<std::string>> append_numbers(const std::vector<std::string> &stems, std::string_view ranges) {
  std::vector<std::string> numbers;
  TRAINHOST_TRY(const auto parts, split_at_commas(ranges));
  for (const std::string_view part : parts) {
    TRAINHOST_TRY(const auto expanded, expand_range(part));
    numbers.insert(numbers.end(), expanded.begin(), expanded.end());
  }
  if (stems.size() * numbers.size() > kMostHosts) return bad("\"[{}]\" makes more than {} hosts", ranges, kMostHosts);
  std::vector<std::string> longer;
  for (const std::string &stem : stems) {
    for (const std::string &number : numbers) longer.push_back(stem + number);
  }
  return longer;
}

// One part, in which brackets match: text, [ranges], text, ...
Result<std::vector<std::string>> expand_part(std::string_view part) {
  std::vector<std::string> names{""};
  while (!part.empty()) {
    const size_t open = part.find('[');
    for (std::string &name : names) name += part.substr(0, open);
    if (open == std::string_view::npos) break;
    const size_t close = part.find(']');
    TRAINHOST_TRY(names, append_numbers(names, part.substr(open + 1, close - open - 1)));
    part.remove_prefix(close + 1);
  }
  return names;
}

}  // namespace

Result<std::vector<std::string>> expand_host_list(std::string_view text) {
  std::vector<std::string> hosts;
  TRAINHOST_TRY(const auto parts, split_at_commas(text));
  for (const std::string_view part : parts) {
    if (part.empty()) continue;
    TRAINHOST_TRY(const auto names, expand_part(part));
    hosts.insert(hosts.end(), names.begin(), names.end());
    if (hosts.size() > kMostHosts) return bad("\"{}\" names more than {} hosts", text, kMostHosts);
  }
  if (hosts.empty()) return bad("\"{}\" names no host", text);
  return hosts;
}

Result<std::vector<uint32_t>> expand_tasks_per_node(std::string_view text) {
  std::vector<uint32_t> tasks;
  TRAINHOST_TRY(const auto parts, split_at_commas(text));
  for (const std::string_view part : parts) {
    const size_t open = part.find("(x");
    const auto count = number_in(part.substr(0, open));
    const bool closed = open == std::string_view::npos || part.ends_with(')');
    const auto times = open == std::string_view::npos ? 1 : number_in(part.substr(open + 2, part.size() - open - 3));
    if (!count || !closed || !times || *times > kMostHosts) return bad("\"{}\" is not written like \"4(x2),3\"", text);
    tasks.insert(tasks.end(), *times, *count);
  }
  return tasks;
}

}  // namespace trainhost
