// The shares of the sources along the token axis, as the recipe has them.
#pragma once

#include <cstdint>
#include <vector>

#include "recipe/recipe.h"
#include "recipe/token_axis.h"

namespace trainhost {

constexpr uint32_t kMixPieces = 32;  // of the length over which a mix moves

// A part of a phase with one mix.
struct MixPiece {
  uint64_t first_step = 0, end_step = 0;
  std::vector<double> weights;  // one per source, sum 1
};

// The pieces of a phase, in order. A mix that moves does so in kMixPieces pieces of equal length, moved up to whole steps, each with the
// shares that the line from the phase before has in its middle; after it the phase's own mix holds. Without a mix, equal shares.
std::vector<MixPiece> mix_pieces(const Recipe &recipe, const TokenAxis &axis, size_t phase);

}  // namespace trainhost
