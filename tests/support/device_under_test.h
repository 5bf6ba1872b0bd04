// Numbers for tests of devices, and whether there is a GPU.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "device/device.h"

namespace trainhost::test {

// Of many magnitudes and both signs, the same at every call.
std::vector<float> many_floats(size_t count);

// Floats that are hard to round: ties to even in both directions, next to ties, subnormal, the largest, infinite.
std::vector<float> hard_to_round();

// Cut as the host cuts parameters: blocks of 4096 and rests, gaps, blocks of one, a block of none.
std::vector<FloatRange> blocks_of(size_t count);

// Why tests cannot use a GPU here; empty when they can.
std::string no_gpu();

}  // namespace trainhost::test
