#include "share_tree.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>
#include <tuple>

namespace weighted {

std::vector<uint64_t> apportion(std::span<const double> weights, uint64_t block) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<uint64_t> samples;
  std::vector<double> remainders;  // what a source still lacks; negative for one that got more than its due
  for (const double weight : weights) {
    const double due = weight / sum * static_cast<double>(block);
    samples.push_back(weight > 0 ? std::max<uint64_t>(1, static_cast<uint64_t>(due)) : 0);
    remainders.push_back(weight > 0 ? due - static_cast<double>(samples.back()) : -INFINITY);
  }
  uint64_t given = std::accumulate(samples.begin(), samples.end(), uint64_t{0});
  for (; given < block; ++given) {
    const auto most = static_cast<size_t>(std::max_element(remainders.begin(), remainders.end()) - remainders.begin());
    ++samples[most];
    remainders[most] -= 1;
  }
  for (; given > block; --given) {  // the small ones' whole samples come from the largest
    --*std::max_element(samples.begin(), samples.end());
  }
  return samples;
}

ShareTree::ShareTree(std::span<const uint64_t> samples) : sources_(samples.size()) {
  using Entry = std::tuple<uint64_t, int32_t>;  // samples, node: ties go by age, so equal inputs give equal trees everywhere
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> open;
  const auto add = [&](const Node &node) {
    open.emplace(node.samples, static_cast<int32_t>(nodes_.size()));
    nodes_.push_back(node);
  };
  for (uint32_t source = 0; source < samples.size(); ++source) {
    if (samples[source] > 0) add({samples[source], source, -1, -1});
  }
  while (open.size() > 1) {
    const auto [right_samples, right] = open.top();
    open.pop();
    const auto [left_samples, left] = open.top();
    open.pop();
    add({left_samples + right_samples, 0, left, right});
  }
}

// How many of the first n samples that reach the node go left: round(n * left / samples), which stays whole at every block's end.
uint64_t ShareTree::to_left(const Node &node, uint64_t n) const {
  const uint64_t left = nodes_[static_cast<size_t>(node.left)].samples, blocks = n / node.samples, rest = n % node.samples;
  return blocks * left + (2 * rest * left + node.samples) / (2 * node.samples);
}

ShareTree::Place ShareTree::place(uint64_t i) const {
  const Node *node = &nodes_.back();
  while (node->left >= 0) {
    const uint64_t before = to_left(*node, i);
    const bool left = to_left(*node, i + 1) > before;
    i = left ? before : i - before;
    node = &nodes_[static_cast<size_t>(left ? node->left : node->right)];
  }
  return {node->source, i};
}

void ShareTree::counts(uint64_t n, uint64_t *per_source) const {
  std::fill_n(per_source, sources_, 0);
  std::vector<uint64_t> reached(nodes_.size());
  reached.back() = n;
  for (size_t i = nodes_.size(); i-- > 0;) {  // a node's branches stand before it
    const Node &node = nodes_[i];
    if (node.left < 0) {
      per_source[node.source] = reached[i];
      continue;
    }
    const uint64_t left = to_left(node, reached[i]);
    reached[static_cast<size_t>(node.left)] = left;
    reached[static_cast<size_t>(node.right)] = reached[i] - left;
  }
}

}  // namespace weighted
