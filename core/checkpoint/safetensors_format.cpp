#include "checkpoint/safetensors_format.h"

#include <algorithm>

namespace trainhost::safetensors {

std::optional<ElementType> element_type_of(std::string_view dtype) {
  for (const ElementType type : {ElementType::kFloat32, ElementType::kBfloat16}) {
    if (dtype_of(type) == dtype) return type;
  }
  return std::nullopt;
}

std::optional<size_t> find_dtype(std::string_view name) {
  const auto found = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype &dtype) { return dtype.name == name; });
  if (found == kDtypes.end()) return std::nullopt;
  return static_cast<size_t>(found - kDtypes.begin());
}

std::optional<uint64_t> tensor_bytes(std::string_view dtype, std::span<const int64_t> shape) {
  const auto place = find_dtype(dtype);
  if (!place) return std::nullopt;
  uint64_t bits = kDtypes[*place].bits;
  for (const int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(bits, static_cast<uint64_t>(dimension), &bits)) return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

}  // namespace trainhost::safetensors
