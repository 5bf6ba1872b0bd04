// Spreads the sources over a block of samples, each as often as its share says and as evenly as can be.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace weighted {

// Whole numbers that add up to `block` and stand in the ratio of the weights, by largest remainder; a positive weight gets at least
// 1. Each is less than 1 away from weight * block, unless more sources than fit ask for their 1. The positive weights number at most
// `block`.
std::vector<uint64_t> apportion(std::span<const double> weights, uint64_t block);

// A Huffman tree over the sources: each inner node sends the j-th sample that reaches it to the left when round(share * j) rises
// there, so one of two branches is at most half a sample off after any number of samples, and a leaf at most half of the sum, over
// the nodes above it and itself, of its share in them (Beatty sequences, nested). Everything repeats after a block. Immutable.
class ShareTree {
 public:
  // How many samples of a block each source gets; at least one is positive.
  explicit ShareTree(std::span<const uint64_t> samples);

  struct Place {
    uint32_t source;
    uint64_t ordinal;  // among the source's samples
  };
  // Where sample i comes from.
  Place place(uint64_t i) const;
  // How many of the first n samples each source gets.
  void counts(uint64_t n, uint64_t *per_source) const;

 private:
  struct Node {
    uint64_t samples;     // of a block
    uint32_t source;      // of a leaf
    int32_t left, right;  // of an inner node; -1 for a leaf
  };
  uint64_t to_left(const Node &node, uint64_t n) const;

  std::vector<Node> nodes_;  // the root is the last
  size_t sources_;
};

}  // namespace weighted
