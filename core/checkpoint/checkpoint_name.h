// The names in a checkpoints/ folder. All others are somebody else's and left alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trainhost {

// "step-000001000": at least nine digits, so that names sort by number up to a milliard steps.
std::string checkpoint_name(uint64_t step);

// The step of a path whose last part is exactly such a name; nullopt for any other.
std::optional<uint64_t> step_of(std::string_view path);

// Why a directory lies beside the checkpoints for a while.
enum class Leftover {
  kPartial,   // being written
  kReplaced,  // stepped aside for another checkpoint of its step; put back if that one never came
  kRemoved,   // being removed
};

// "step-000001000.partial-1234@host": its process is in the name, so that a living one's is left alone.
std::string leftover_name(uint64_t step, Leftover kind);

struct LeftoverName {
  uint64_t step = 0;
  Leftover kind = Leftover::kPartial;
  bool abandoned = false;  // no living process other than this one can be at work on it, as far as this machine knows
};
std::optional<LeftoverName> parse_leftover(std::string_view name);

}  // namespace trainhost
