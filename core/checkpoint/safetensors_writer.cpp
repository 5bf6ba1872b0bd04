#include <algorithm>
#include <bit>
#include <cstring>
#include <tuple>

#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_format.h"

namespace trainhost {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian and are written straight from memory");

std::string encode(const std::vector<SafetensorsTensor> &tensors) {
  nlohmann::ordered_json json;
  json[std::string(safetensors::kMetadataKey)] = {{"format", "pt"}};
  std::string text = json.dump();
  text.pop_back();  // the entries follow by hand: looking each key up in an ordered object would cost the square of their number
  for (const SafetensorsTensor &tensor : tensors) {
    nlohmann::ordered_json entry{{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
    text += ',';
    text += nlohmann::json(tensor.name).dump();
    text += ':';
    text += entry.dump();
  }
  text += "}";
  text.resize((text.size() + safetensors::kHeaderAlignment - 1) / safetensors::kHeaderAlignment * safetensors::kHeaderAlignment, ' ');
  std::string header(safetensors::kLengthBytes, '\0');
  const uint64_t length = text.size();
  std::memcpy(header.data(), &length, sizeof length);
  return header + text;
}

Result<> assign_offsets(std::vector<SafetensorsTensor> &tensors) {
  uint64_t offset = 0;
  for (SafetensorsTensor &tensor : tensors) {
    const auto bytes = safetensors::tensor_bytes(tensor.dtype, tensor.shape);
    if (!bytes || offset + *bytes < offset) {
      return failure(ErrorKind::kInternal, "tensor \"" + tensor.name + "\" of dtype " + tensor.dtype + " has no size that can be written");
    }
    tensor.begin = offset;
    tensor.end = offset += *bytes;
  }
  return {};
}

}  // namespace

Result<SafetensorsLayout> lay_out_safetensors(std::vector<SafetensorsTensor> tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const SafetensorsTensor &a, const SafetensorsTensor &b) {
    return std::tuple(safetensors::find_dtype(a.dtype), std::string_view(a.name)) <
           std::tuple(safetensors::find_dtype(b.dtype), std::string_view(b.name));
  });
  std::vector<std::string_view> names;
  for (const SafetensorsTensor &tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end()) {
    return failure(ErrorKind::kInternal, "two tensors are named \"" + std::string(*twice) + "\"");
  }
  if (std::binary_search(names.begin(), names.end(), safetensors::kMetadataKey)) {
    return failure(ErrorKind::kInternal, "a tensor has the reserved name \"__metadata__\"");
  }
  TRAINHOST_CHECK(assign_offsets(tensors));
  SafetensorsLayout layout{.tensors = std::move(tensors), .header = {}};
  try {
    layout.header = encode(layout.tensors);
  } catch (const nlohmann::json::exception &) {  // the library's only way to say so
    return failure(ErrorKind::kInternal, "the name of a tensor is not UTF-8");
  }
  if (layout.header.size() - safetensors::kLengthBytes > safetensors::kMaximumHeaderBytes) {
    return failure(ErrorKind::kInternal, "too many tensors for one safetensors file");
  }
  return layout;
}

}  // namespace trainhost
