#include "checkpoint/checkpoint_name.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>

#include <unistd.h>

#include "checkpoint/process_identity.h"

namespace trainhost {
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr size_t kDigits = 9;
constexpr std::array<std::pair<Leftover, std::string_view>, 3> kLeftovers{
    {{Leftover::kPartial, ".partial-"}, {Leftover::kReplaced, ".replaced-"}, {Leftover::kRemoved, ".removed-"}}};

std::optional<uint64_t> parse_number(std::string_view digits) {
  uint64_t number = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (code != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

// A process of another machine is taken for dead: the run's lock, which the caller holds, says that nobody else is at work.
bool is_alive_elsewhere(const ProcessIdentity &process) {
  if (process.host != this_process().host || process.id == ::getpid()) return false;
  return ::kill(process.id, 0) == 0 || errno != ESRCH;
}

}  // namespace

std::string checkpoint_name(uint64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < kDigits) digits.insert(0, kDigits - digits.size(), '0');
  return std::string(kPrefix) + digits;
}

std::optional<uint64_t> step_of(std::string_view path) {
  if (const size_t slash = path.rfind('/'); slash != std::string_view::npos) path.remove_prefix(slash + 1);
  if (!path.starts_with(kPrefix)) return std::nullopt;
  const auto step = parse_number(path.substr(kPrefix.size()));
  if (!step || checkpoint_name(*step) != path) return std::nullopt;
  return step;
}

std::string leftover_name(uint64_t step, Leftover kind) {
  return checkpoint_name(step) + std::string(kLeftovers[static_cast<size_t>(kind)].second) + this_process().text();
}

std::optional<LeftoverName> parse_leftover(std::string_view name) {
  for (const auto &[kind, mark] : kLeftovers) {
    const size_t at = name.find(mark);
    if (at == std::string_view::npos) continue;
    const auto step = step_of(name.substr(0, at));
    const auto process = ProcessIdentity::parse(name.substr(at + mark.size()));
    if (step && process) return LeftoverName{.step = *step, .kind = kind, .abandoned = !is_alive_elsewhere(*process)};
  }
  return std::nullopt;
}

}  // namespace trainhost
