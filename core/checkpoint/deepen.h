// The tensors of a deeper model, whose further layers are copies of those that are there: depth up-scaling (Yi, arXiv 2403.04652).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "checkpoint/made_checkpoint.h"
#include "checkpoint/stored_tensors.h"

namespace trainhost {

// How the names of a model's parameters number its layers: "block.7.norm.weight" is ".norm.weight" of layer 7. All layers have the same.
struct LayerNames {
  std::string prefix;  // "block."
  uint64_t count = 0;
  std::map<std::string, StoredTensors::Shape> parameters;  // of each layer, by what follows the number
};

// The first number in a name that stands alone between dots is taken for the layer. kUsage, naming the checkpoint, when no name has one,
// when there are several series of layers, and when layers are missing or not alike.
Result<LayerNames> find_layers(const StoredTensors &stored, const std::string &checkpoint);

struct Deepening {
  uint64_t begin = 0, end = 0;      // layers [begin, end), counted from 0, are copied; the copies follow layer end - 1, in their order
  std::vector<std::string> zeroed;  // parameters that are zero in the copies: "attention.out.weight"
  uint64_t copies() const { return end - begin; }
};

// All tensors of the deeper model's checkpoint. A copied parameter has the states of its original, and a zeroed one states of zero, as at
// the beginning of a training. They read from `stored`, which outlives them. kUsage for layers and parameters that there are none of.
Result<std::vector<MadeTensor>> deepen(const StoredTensors &stored, const LayerNames &names, const Deepening &deepening);

}  // namespace trainhost
