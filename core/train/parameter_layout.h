// How a model's parameters lie in memory, and where they are cut when ranks share them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "device/device.h"
#include "plugin_host/adapters/model.h"
#include "trainhost/kinds/optimizer.h"

namespace trainhost {

// Units [begin, end): what one pipeline stage holds.
struct UnitRange {
  uint32_t begin = 0, end = 0;
  bool contains(uint32_t unit) const { return begin <= unit && unit < end; }
};

// Parameters that the same units use, side by side: what is gathered, reduced and cut as one. A tied parameter is in a group of its
// own kind, with several users. Where these are in several pipeline stages, each has the group, and that of the first user owns it: it
// adds the gradients up and makes the updates.
struct ParameterGroup {
  std::vector<uint32_t> parameters;  // indices in the model's list
  std::vector<size_t> offsets;       // of each, in floats from the group's beginning, on multiples of 64 bytes
  std::vector<uint32_t> users;       // units of the model, ascending
  size_t size = 0;                   // floats
  std::vector<size_t> cuts;          // rank r holds floats [cuts[r], cuts[r + 1])

  FloatRange piece(uint32_t rank) const { return {cuts[rank], cuts[rank + 1]}; }
};

// Where a parameter is: in which group, and the floats [begin, end) of it.
struct Placement {
  uint32_t group = 0;
  size_t begin = 0, end = 0;
};

// The length of the parts of a parameter that a sum over it is taken in, in floats: no cut goes through one, so such a sum does not
// depend on the cut.
constexpr size_t kBlock = 4096;

class ParameterLayout {
 public:
  // The parameters of the model that `units` use, in the same order and with the same cuts on every stage, for so many ranks; granularity
  // as in kinds/optimizer.h says whether a cut may go through a parameter. Pieces are as equal as the granularity allows.
  ParameterLayout(const Model &model, UnitRange units, uint32_t ranks, int32_t granularity);

  const std::vector<ParameterGroup> &groups() const { return groups_; }
  // Of the model's parameter `index`, which must be one of those here.
  const Placement &placement(uint32_t index) const { return placements_[index]; }
  // The groups that a unit uses.
  const std::vector<uint32_t> &groups_of(uint32_t unit) const { return groups_of_unit_[unit]; }
  // The blocks of a group's parameters that lie in `range`, whose ends are possible cuts.
  std::vector<FloatRange> blocks(uint32_t group, FloatRange range) const;

 private:
  std::vector<ParameterGroup> groups_;
  std::vector<Placement> placements_;
  std::vector<std::vector<uint32_t>> groups_of_unit_;
};

// How many elements the parameter has.
size_t element_count(const th_parameter_info &info);
// So many floats rounded up to whole cache lines, where the next buffer may begin.
size_t aligned(size_t count);

}  // namespace trainhost
