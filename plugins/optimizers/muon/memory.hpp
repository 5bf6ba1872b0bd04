// Muon's workspace.
#pragma once

#include "muon/newton_schulz.hpp"
#include "whole_tensors/blocks.hpp"

// For one matrix, on the CPU and on CUDA; matrices are updated one after the other.
struct MuonMemory {
  NewtonSchulzMemory iteration;
  whole_tensors::Squares *squares;  // of each block

  // In the workspace, which has bytes(rows, columns) at least.
  MuonMemory(void *workspace, int64_t rows, int64_t columns) {
    auto *at = static_cast<std::byte *>(workspace);
    const auto take = [&](int64_t bytes) { return std::exchange(at, at + aligned(bytes)); };
    const int64_t side = std::min(rows, columns);
    const auto floats = [&](int64_t count) { return reinterpret_cast<float *>(take(count * int64_t{sizeof(float)})); };
    iteration.x = floats(rows * columns);
    iteration.next = floats(rows * columns);
    iteration.gram = floats(side * side);
    iteration.polynomial = floats(side * side);
    squares = reinterpret_cast<whole_tensors::Squares *>(at);
  }

  static int64_t bytes(int64_t rows, int64_t columns) {
    const int64_t side = std::min(rows, columns);
    return 2 * aligned(rows * columns * int64_t{sizeof(float)}) + 2 * aligned(side * side * int64_t{sizeof(float)}) +
           whole_tensors::block_count(rows * columns) * int64_t{sizeof(whole_tensors::Squares)};
  }

 private:
  static int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }
};
