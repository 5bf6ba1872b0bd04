#include "train/reduction_tree.h"

#include <utility>

#include "device/thread_pool.h"

namespace trainhost {

void add_to(float *to, const float *from, size_t count) {
  parallel_for(static_cast<int64_t>(count), int64_t{1} << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

void ReductionTree::add(Buffer<float> leaf) {
  Node node{1, std::move(leaf)};
  while (!nodes_.empty() && nodes_.back().leaves == node.leaves) {
    add_to(nodes_.back().sum.data(), node.sum.data(), node.sum.size());
    node = {2 * node.leaves, std::move(nodes_.back().sum)};
    nodes_.pop_back();
  }
  nodes_.push_back(std::move(node));
}

Buffer<float> ReductionTree::finish() {
  Buffer<float> sum = std::move(nodes_.back().sum);
  for (nodes_.pop_back(); !nodes_.empty(); nodes_.pop_back()) {
    add_to(nodes_.back().sum.data(), sum.data(), sum.size());
    sum = std::move(nodes_.back().sum);
  }
  return sum;
}

}  // namespace trainhost
