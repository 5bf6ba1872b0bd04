#include "parameters.h"

#include <cmath>

namespace trainhost::minicpm {

ParameterList::ParameterList(const Configuration &configuration) : configuration_(configuration) {
  const int64_t vocabulary = configuration.vocabulary, width = configuration.width;
  const uint32_t embedding = add_embedding("embedding.weight", TH_ROLE_EMBEDDING);
  add_unit("embedding", {embedding}, width, 0);
  for (int64_t layer = 0; layer < configuration.layers; ++layer) add_block(layer);
  const uint32_t norm = add_norm("head.norm.weight");
  const uint32_t weight = configuration.tied_embeddings ? embedding : add_embedding("head.weight", TH_ROLE_HEAD);
  add_unit("head", {norm, weight}, 0, 2.0 * static_cast<double>(width * vocabulary));
}

void ParameterList::add_block(int64_t layer) {
  const Configuration &c = configuration_;
  const std::string name = "block." + std::to_string(layer);
  const int64_t weights = c.width * (c.qkv_width() + c.width + 3 * c.feed_forward);
  const int64_t attention = c.sequence_length * c.width;  // half of the T x T products q.k and p.v
  add_unit(name,
           {add_norm(name + ".attention.norm.weight"), add_matrix(name + ".attention.qkv.weight", c.qkv_width(), c.width),
            add_matrix(name + ".attention.out.weight", c.width, c.width), add_norm(name + ".feed_forward.norm.weight"),
            add_matrix(name + ".feed_forward.gate_up.weight", 2 * c.feed_forward, c.width),
            add_matrix(name + ".feed_forward.down.weight", c.width, c.feed_forward)},
           c.width, 2.0 * static_cast<double>(weights + attention));
}

// The scaling of MiniCPM (arXiv 2404.06395, table 7): 2-D tensors start smaller and learn slower as the model gets wider.
void ParameterList::scale_with_width(uint32_t parameter) {
  parameters_[parameter].init_std /= std::sqrt(configuration_.width_ratio());
  parameters_[parameter].lr_scale = 1 / configuration_.width_ratio();
}

uint32_t ParameterList::add_matrix(std::string name, int64_t rows, int64_t columns) {
  const uint32_t index = add(std::move(name), TH_ROLE_MATRIX, rows, columns);
  parameters_[index].weight_decay = 1;
  scale_with_width(index);
  return index;
}

// The table does not say whether these are among the 2-D tensors, so the recipe does.
uint32_t ParameterList::add_embedding(std::string name, int32_t role) {
  const uint32_t index = add(std::move(name), role, configuration_.vocabulary, configuration_.width);
  if (configuration_.embeddings_as_matrices) scale_with_width(index);
  return index;
}

uint32_t ParameterList::add_norm(std::string name) {
  const uint32_t index = add(std::move(name), TH_ROLE_NORM, configuration_.width, 1);
  parameters_[index].rank = 1;
  parameters_[index].init_mean = 1;
  parameters_[index].init_std = 0;
  return index;
}

uint32_t ParameterList::add(std::string name, int32_t role, int64_t rows, int64_t columns) {
  parameters_.push_back({.struct_size = sizeof(th_parameter_info),
                         .role = role,
                         .rank = 2,
                         .weight_decay = 0,
                         .name = sdk::to_string(names_.emplace_back(std::move(name))),
                         .shape = {rows, columns},
                         .init_mean = 0,
                         .init_std = configuration_.init_std,
                         .lr_scale = 1});
  return static_cast<uint32_t>(parameters_.size() - 1);
}

void ParameterList::add_unit(std::string name, std::vector<uint32_t> parameters, int64_t output_width, double flops_per_token) {
  const std::vector<uint32_t> &indices = indices_.emplace_back(std::move(parameters));
  units_.push_back({.struct_size = sizeof(th_unit_info),
                    .parameter_count = static_cast<uint32_t>(indices.size()),
                    .parameters = indices.data(),
                    .name = sdk::to_string(names_.emplace_back(std::move(name))),
                    .output_width = static_cast<uint64_t>(output_width),
                    .forward_flops_per_token = flops_per_token});
}

}  // namespace trainhost::minicpm
