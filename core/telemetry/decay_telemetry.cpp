#include "telemetry/decay_telemetry.h"

#include <cmath>

namespace trainhost {

DecayTelemetry decay_telemetry(const UpdateProducts &products) {
  DecayTelemetry telemetry{.gradient_cosine = products.gh / (std::sqrt(products.gg) * std::sqrt(products.hh)),
                           .d1 = products.hv / std::sqrt(products.vv),
                           .d2 = (products.hv - products.gv) / products.vv,
                           .curvature = 0};
  telemetry.curvature = std::abs(telemetry.d2) / std::pow(1 + telemetry.d1 * telemetry.d1, 1.5);
  return telemetry;
}

}  // namespace trainhost
