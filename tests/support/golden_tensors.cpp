#include "support/golden_tensors.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace trainhost {
namespace {

template <class Item>
std::vector<Item> items(const std::string &bytes, size_t begin, size_t end) {
  std::vector<Item> result((end - begin) / sizeof(Item));
  std::memcpy(result.data(), bytes.data() + begin, end - begin);
  return result;
}

}  // namespace

GoldenTensors::GoldenTensors(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (bytes.size() < 8) throw std::runtime_error("cannot read " + path);
  uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, header_size));
  for (const auto &[name, tensor] : header.items()) {
    if (name == "__metadata__") {
      texts_ = tensor.get<std::map<std::string, std::string>>();
      continue;
    }
    const size_t begin = 8 + header_size + tensor["data_offsets"][0].get<size_t>();
    const size_t end = 8 + header_size + tensor["data_offsets"][1].get<size_t>();
    shapes_[name] = tensor["shape"].get<std::vector<int64_t>>();
    if (tensor["dtype"] == "F32") floats_[name] = items<float>(bytes, begin, end);
    if (tensor["dtype"] == "I32") integers_[name] = items<int32_t>(bytes, begin, end);
  }
}

}  // namespace trainhost
