// What the writer and the reader of safetensors files share.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "tensor/element_span.h"

namespace trainhost::safetensors {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaximumHeaderBytes = 100'000'000;
constexpr uint64_t kHeaderAlignment = 8;
constexpr std::string_view kMetadataKey = "__metadata__";

struct Dtype {
  std::string_view name;
  uint32_t bits;
};

// In the order in which the reference writer puts them into a file.
constexpr std::array<Dtype, 22> kDtypes{
    {{"U64", 64}, {"I64", 64}, {"F64", 64},    {"C64", 64},        {"F32", 32},        {"U32", 32},    {"I32", 32},    {"BF16", 16},
     {"F16", 16}, {"U16", 16}, {"I16", 16},    {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8}, {"F8_E4M3", 8}, {"F8_E5M2", 8},
     {"I8", 8},   {"U8", 8},   {"F6_E3M2", 6}, {"F6_E2M3", 6},     {"F4", 4},          {"BOOL", 8}}};

// The format's word for a type, and the type that it is the word for.
constexpr std::string_view dtype_of(ElementType type) { return type == ElementType::kBfloat16 ? "BF16" : "F32"; }
std::optional<ElementType> element_type_of(std::string_view dtype);

// The place of a dtype in kDtypes; nullopt for an unknown word.
std::optional<size_t> find_dtype(std::string_view name);

// Bytes of a tensor; nullopt when the dtype is unknown, a dimension is negative, the size overflows 64 bits or is no whole byte.
std::optional<uint64_t> tensor_bytes(std::string_view dtype, std::span<const int64_t> shape);

}  // namespace trainhost::safetensors
