// How the loss lies along the way that training goes: from the gradients of two steps and the update between them.
#pragma once

namespace trainhost {

// Inner products over all parameters. g: the gradient at the parameters before the update v, h: that at the parameters after it, over the
// next step's batch.
struct UpdateProducts {
  double gg = 0, gh = 0, hh = 0;
  double gv = 0, hv = 0, vv = 0;
};

// MiniCPM (arXiv 2404.06395), section 4.4. NaN where an update or a gradient is zero.
struct DecayTelemetry {
  double gradient_cosine = 0;  // cos(g, h)
  double d1 = 0;               // h v / |v|: first derivative of the loss along the update
  double d2 = 0;               // (h - g) v / |v|^2: second derivative
  double curvature = 0;        // |d2| / (1 + d1^2)^1.5
};
DecayTelemetry decay_telemetry(const UpdateProducts &products);

}  // namespace trainhost
