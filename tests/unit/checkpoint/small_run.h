// The state of a tiny run at a step: what tests save, and what they compare bit by bit.
#pragma once

#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "checkpoint/checkpoint.h"

namespace trainhost {

class SmallRun {
 public:
  // All values follow from the step and the seed, so that a loaded state can be compared with one made anew.
  explicit SmallRun(uint64_t step = 0, uint64_t seed = 1, bool bfloat16_states = false) : step_(step) {
    add("model.embedding.weight", {5, 3}, seed);
    add("model.scale", {}, seed);
    add("model.unused", {0, 4}, seed);
    add("optimizer.embedding.weight.first moment \"m\"", {5, 3}, seed, bfloat16_states ? ElementType::kBfloat16 : ElementType::kFloat32);
  }

  CheckpointContents contents(std::string label = "") {
    return {.step = step_,
            .tokens = step_ * 4096,
            .label = std::move(label),
            .fingerprints = fingerprints(),
            .trainer_state = "{\"spikes\":[1,2]}",
            .tensors = tensors()};
  }

  std::vector<NamedTensor> tensors() {
    std::vector<NamedTensor> views;
    for (Owned &tensor : owned_) {
      auto *const memory = reinterpret_cast<std::byte *>(tensor.memory.data());
      views.push_back({.name = tensor.name, .shape = tensor.shape, .values = {tensor.type, memory, tensor.count}});
    }
    return views;
  }

  static Fingerprints fingerprints() {
    return {.recipe = std::string(64, 'a'),
            .data = std::string(64, 'b'),
            .tokenizer = std::string(64, 'c'),
            .plugins = {{"model", "bigram 1.0.0 " + std::string(64, 'd')}, {"optimizer", "adamw 1.0.0 " + std::string(64, 'e')}}};
  }

  // Bit by bit: NaNs of different payload differ, and so do the two zeros.
  bool operator==(const SmallRun &other) const {
    if (owned_.size() != other.owned_.size()) return false;
    for (size_t i = 0; i < owned_.size(); ++i) {
      const auto &a = owned_[i].memory, &b = other.owned_[i].memory;
      if (a.size() != b.size() || (!a.empty() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) != 0)) return false;
    }
    return true;
  }

 private:
  struct Owned {
    std::string name;
    std::vector<int64_t> shape;
    ElementType type;
    size_t count;
    std::vector<float> memory;
  };

  // Random bit patterns: NaNs with payloads, infinities, denormal numbers and negative zero among them.
  void add(std::string name, std::vector<int64_t> shape, uint64_t seed, ElementType type = ElementType::kFloat32) {
    size_t size = 1;
    for (const int64_t dimension : shape) size *= static_cast<size_t>(dimension);
    std::vector<float> values(floats_for(type, size));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = std::bit_cast<float>(static_cast<uint32_t>(random_bits(seed, step_ << 8 | owned_.size(), i)));
    static constexpr uint32_t kSpecial[] = {0x7fc12345, 0xff812345, 0x7f800000, 0x80000000, 1};
    for (size_t i = 0; i + 1 < values.size() && i < std::size(kSpecial); ++i) values[i + 1] = std::bit_cast<float>(kSpecial[i]);
    if (size % 2 == 1 && type == ElementType::kBfloat16)  // the half of a float behind the last element is nobody's
      values.back() = std::bit_cast<float>(std::bit_cast<uint32_t>(values.back()) & 0xffff);
    owned_.push_back({.name = std::move(name), .shape = std::move(shape), .type = type, .count = size, .memory = std::move(values)});
  }

  uint64_t step_;
  std::vector<Owned> owned_;
};

// The folder as the only process of a run opens it.
inline Result<CheckpointDirectory> open_alone(FileSystem &files, const std::string &folder) {
  static const auto group = single_process();
  return CheckpointDirectory::open(files, folder, *group);
}

}  // namespace trainhost
