// Finds the phases of a training in its loss curve alone: fast, stable, annealing.
#pragma once

#include <span>
#include <vector>

#include "telemetry/loss_slope.h"

namespace trainhost {

struct DetectedPhases {
  std::vector<double> knees;      // tokens at which the loss begins to fall otherwise: none, one or two
  std::vector<double> exponents;  // of the pieces between them, as in LossSlope
};

// Fits log loss over log tokens with one, two or three lines, those with the least sum of squared residuals; how many says the Bayesian
// information criterion. Points in the order of their tokens; of many, neighbours are taken together first. Points whose loss is not
// finite, or not above 0, are left out; fewer than ten make one piece.
DetectedPhases detect_phases(std::span<const LossPoint> points);

}  // namespace trainhost
