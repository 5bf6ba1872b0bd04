// What `trainhost evaluate --layers` found, for people and for programs.
#pragma once

#include <ostream>

#include <nlohmann/json_fwd.hpp>

#include "evaluate/layer_probe.h"

namespace trainhost {

void print_layers(const LayerProbe &probe, std::ostream &out);

// The same; what is unknown is null.
nlohmann::ordered_json layer_json(const LayerProbe &probe);

}  // namespace trainhost
