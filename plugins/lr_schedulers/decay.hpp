// How the learning rate falls from the stable level to its end.
#pragma once

#include "trainhost/cpp/lr_scheduler.hpp"

// What the shapes need to know.
struct DecayParameters {
  double length;         // of the decay, in tokens
  double floor;          // share of the peak at the end
  double exponent;       // of power and one_minus_power
  double half_life;      // in tokens
  double lowered_level;  // where lowered_linear starts
};

class Decay {
 public:
  // Of the parameter `decay`, or of a length in tokens. Throws TH_INVALID for parameters that make no sense together.
  explicit Decay(const trainhost::sdk::Config &config) : Decay(config, config.amount("decay")) {}
  Decay(const trainhost::sdk::Config &config, double length);

  double length() const { return parameters_.length; }
  // The share of the peak once `tokens` of the decay are done; 0 <= tokens <= length.
  double share(double tokens) const { return shape_(parameters_, tokens / parameters_.length); }

 private:
  DecayParameters parameters_;
  double (*shape_)(const DecayParameters &, double x);  // x: the part of the decay that is done, in [0, 1]
};
