// A whole parameter in blocks whose borders depend on its size alone: sums of each block, added in the blocks' order, depend neither on
// the number of threads nor on what else is updated.
#pragma once

#include "elementwise/pieces.hpp"

namespace whole_tensors {

using elementwise::kBlock;

inline int64_t block_count(int64_t elements) { return (elements + kBlock - 1) / kBlock; }

inline int64_t element_count(const th_parameter_info &info) {
  int64_t count = 1;
  for (int32_t i = 0; i < info.rank; ++i) count *= info.shape[i];
  return count;
}

// kernel(block, first, count) for elements [first, first + count) of each block, on the thread pool; it must not throw.
template <class Kernel>
void for_each_block(const trainhost::sdk::Host &host, int64_t elements, Kernel &&kernel) {
  host.parallel_for(block_count(elements), elementwise::kGrain / kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) kernel(block, block * kBlock, std::min(kBlock, elements - block * kBlock));
  });
}

// Sums of squares over a parameter and over its step.
struct Squares {
  double parameter = 0, step = 0;
};

inline Squares total(const Squares *blocks, int64_t count) {
  Squares sum;
  for (int64_t i = 0; i < count; ++i) {
    sum.parameter += blocks[i].parameter;
    sum.step += blocks[i].step;
  }
  return sum;
}

// Throws TH_INVALID for a piece of a parameter.
inline void check_whole(const th_update &update) {
  const th_tensor &master = update.master;
  const th_parameter_info &info = *update.info;
  if (master.rank == info.rank && std::equal(info.shape, info.shape + info.rank, master.shape)) return;
  throw trainhost::sdk::Failure(TH_INVALID, "the master of parameter \"" + std::string(trainhost::sdk::view(info.name)) + "\" has shape " +
                                                elementwise::shape_text(master) + "; expected the whole parameter");
}

}  // namespace whole_tensors
