// A golden file in the safetensors format: named float32 and int32 tensors and a table of texts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace trainhost {

class GoldenTensors {
 public:
  // Throws std::runtime_error when the file cannot be read.
  explicit GoldenTensors(const std::string &path);

  // Throw std::out_of_range naming what is missing.
  const std::vector<float> &floats(const std::string &name) const { return floats_.at(name); }
  const std::vector<int32_t> &integers(const std::string &name) const { return integers_.at(name); }
  const std::vector<int64_t> &shape(const std::string &name) const { return shapes_.at(name); }
  const std::string &text(const std::string &name) const { return texts_.at(name); }

 private:
  std::map<std::string, std::vector<float>> floats_;
  std::map<std::string, std::vector<int32_t>> integers_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<std::string, std::string> texts_;
};

}  // namespace trainhost
