#include "data/mix_pieces.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trainhost {
namespace {

// The phase's mix as one share per source; equal shares when it has none, as in the recipe's reader.
std::vector<double> phase_weights(const Recipe &recipe, size_t phase) {
  const auto &mix = recipe.phases[phase].overrides.mix;
  std::vector<double> weights;
  for (const Source &source : recipe.sources) {
    const bool mixed_in = !mix || mix->contains(source.name);
    weights.push_back(!mixed_in ? 0.0 : mix ? mix->at(source.name) : 1.0);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double &weight : weights) weight /= sum;
  return weights;
}

// A length in steps is one of this phase's steps.
double mix_length(const Amount &over, const TokenAxis &axis, const PhaseSpan &span) {
  if (over.unit != Amount::Unit::kSteps) return axis.tokens_of(over);
  return static_cast<double>(axis.tokens_at_step(span.first_step + static_cast<uint64_t>(over.value)) - span.first_token);
}

}  // namespace

std::vector<MixPiece> mix_pieces(const Recipe &recipe, const TokenAxis &axis, size_t phase) {
  const PhaseSpan &span = axis.phases()[phase];
  const std::vector<double> own = phase_weights(recipe, phase);
  std::vector<MixPiece> pieces;
  uint64_t step = span.first_step;
  if (const std::optional<Amount> &over = recipe.phases[phase].overrides.mix_over) {
    const std::vector<double> before = phase_weights(recipe, phase - 1);
    for (uint32_t i = 0; i < kMixPieces; ++i) {
      const double moved = (i + 0.5) / kMixPieces, length = mix_length(*over, axis, span) * (i + 1) / kMixPieces;
      const uint64_t end = std::min(axis.step_reaching(static_cast<double>(span.first_token) + length), span.end_step);
      MixPiece piece{step, end, own};
      for (size_t source = 0; source < own.size(); ++source) piece.weights[source] = std::lerp(before[source], own[source], moved);
      if (step < end) pieces.push_back(std::move(piece));
      step = end;
    }
  }
  if (step < span.end_step) pieces.push_back({step, span.end_step, own});
  return pieces;
}

}  // namespace trainhost
