// The state of a tiny run divided among ranks, in all the ways in which trainers cut.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "unit/checkpoint/small_run.h"

namespace trainhost {

enum class Cut {
  kFirst,      // rank 0 has everything
  kLast,       // the last rank has
  kEven,       // every tensor in as many pieces as there are ranks, some of them empty
  kFlat,       // all tensors behind each other, cut at uneven places, within tensors and at their borders
  kTensors,    // whole tensors in turn
  kScattered,  // every tensor in many pieces, dealt out in turn
};
inline constexpr std::array kCuts{Cut::kFirst, Cut::kLast, Cut::kEven, Cut::kFlat, Cut::kTensors, Cut::kScattered};

// What `rank` of `size` has of the run's tensors. For every cut each element is in one rank's pieces.
inline std::vector<NamedTensor> cut_tensors(auto &run, Cut cut, uint32_t rank, uint32_t size) {
  const auto wholes = run.tensors();
  uint64_t total = 0, before = 0;
  for (const NamedTensor &whole : wholes) total += whole.values.size();
  std::vector<NamedTensor> pieces;
  for (size_t i = 0; i < wholes.size(); ++i) {
    const NamedTensor &whole = wholes[i];
    const uint64_t elements = whole.values.size();
    const auto add = [&](uint64_t begin, uint64_t end) {
      pieces.push_back({.name = whole.name, .shape = whole.shape, .values = whole.values.subspan(begin, end - begin), .begin = begin});
    };
    const auto flat = [&](uint64_t r) {
      const uint64_t place = total * r * (r + 1) / (size * (size + uint64_t{1}));
      return std::min(std::max(place, before), before + elements) - before;
    };
    switch (cut) {
      case Cut::kFirst:
        if (rank == 0) add(0, elements);
        break;
      case Cut::kLast:
        if (rank + 1 == size) add(0, elements);
        break;
      case Cut::kEven:
        add(elements * rank / size, elements * (rank + 1) / size);
        break;
      case Cut::kFlat:
        add(flat(rank), flat(rank + 1));
        break;
      case Cut::kTensors:
        if (i % size == rank) add(0, elements);
        break;
      case Cut::kScattered:
        for (uint64_t part = rank; part < 2 * size + 1; part += size)
          add(elements * part / (2 * size + 1), elements * (part + 1) / (2 * size + 1));
        break;
    }
    before += elements;
  }
  return pieces;
}

// What the rank saves.
inline CheckpointContents cut_contents(auto &run, Cut cut, const ProcessGroup &group, std::string label = "") {
  CheckpointContents contents = run.contents(std::move(label));
  contents.tensors = cut_tensors(run, cut, group.rank(), group.size());
  return contents;
}

}  // namespace trainhost
