// Recognises steps that would harm: losses or gradient norms far outside what the last steps showed.
#pragma once

#include <deque>
#include <string>

namespace trainhost {

// A value more than 6 standard deviations above the mean of the last 128 is a spike, once 32 values are known. Spikes enter the
// window too, so that a lasting change of level is accepted after a while. Part of the training state.
class SpikeGuard {
 public:
  static constexpr size_t kWindow = 128, kLeast = 32;
  static constexpr double kDeviations = 6;

  // Why this step is a spike ("loss 9.1 is 7.3 standard deviations above its mean of 4.2"), or empty. Both values are finite; they
  // enter the window.
  std::string judge(double loss, double gradient_norm);

  std::deque<double> losses, gradient_norms;  // newest last
};

}  // namespace trainhost
