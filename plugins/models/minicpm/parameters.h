// The model's parameters and units as the host sees them.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <vector>

#include "configuration.h"

namespace trainhost::minicpm {

// A layer's parameters, in the order of its unit.
enum BlockParameter : uint32_t { kAttentionNorm, kQkv, kOut, kFeedForwardNorm, kGateUp, kDown, kBlockParameters };
// The head's.
enum HeadParameter : uint32_t { kHeadNorm, kHeadWeight, kHeadParameters };

// Describes the parameters once; names, index lists and infos live as long as this object. Not movable, infos point into it.
class ParameterList {
 public:
  explicit ParameterList(const Configuration &configuration);
  ParameterList(const ParameterList &) = delete;

  std::span<const th_parameter_info> parameters() const { return parameters_; }
  std::span<const th_unit_info> units() const { return units_; }  // the embedding, the layers, the head

 private:
  uint32_t add(std::string name, int32_t role, int64_t rows, int64_t columns);
  uint32_t add_matrix(std::string name, int64_t rows, int64_t columns);
  uint32_t add_embedding(std::string name, int32_t role);
  uint32_t add_norm(std::string name);
  void add_unit(std::string name, std::vector<uint32_t> parameters, int64_t output_width, double flops_per_token);
  void add_block(int64_t layer);
  void scale_with_width(uint32_t parameter);

  const Configuration &configuration_;
  std::vector<th_parameter_info> parameters_;
  std::vector<th_unit_info> units_;
  std::deque<std::string> names_;
  std::deque<std::vector<uint32_t>> indices_;
};

}  // namespace trainhost::minicpm
