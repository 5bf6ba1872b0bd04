#include "train/reduction_tree.h"

#include <utility>

namespace trainhost {

void ReductionTree::add(Buffer<float> leaf) {
  Node node{1, std::move(leaf)};
  while (!nodes_.empty() && nodes_.back().leaves == node.leaves) {
    device_->add(nodes_.back().sum.data(), node.sum.data(), node.sum.size());
    node = {2 * node.leaves, std::move(nodes_.back().sum)};
    nodes_.pop_back();
  }
  nodes_.push_back(std::move(node));
}

Buffer<float> ReductionTree::finish() {
  Buffer<float> sum = std::move(nodes_.back().sum);
  for (nodes_.pop_back(); !nodes_.empty(); nodes_.pop_back()) {
    device_->add(nodes_.back().sum.data(), sum.data(), sum.size());
    sum = std::move(nodes_.back().sum);
  }
  return sum;
}

}  // namespace trainhost
