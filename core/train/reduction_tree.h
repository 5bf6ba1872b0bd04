// Sums of equally long buffers in one fixed binary tree over their numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "device/buffer.h"

namespace trainhost {

// Takes leaves 0, 1, 2, ... in order; two neighbours of equal size are added as soon as both are there, as in a binary counter. So it
// holds no more than log2(leaves) + 1 buffers, and its sum depends on the leaves and their order only.
class ReductionTree {
 public:
  // The device of the leaves.
  explicit ReductionTree(Device &device) : device_(&device) {}

  void add(Buffer<float> leaf);
  // The sum of all leaves, at least one, and ready for the next tree.
  Buffer<float> finish();

 private:
  struct Node {
    uint64_t leaves;
    Buffer<float> sum;
  };
  Device *device_;
  std::vector<Node> nodes_;
};

}  // namespace trainhost
