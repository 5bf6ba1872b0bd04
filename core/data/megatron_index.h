// The layout of a Megatron .idx file (Megatron-LM, megatron/core/datasets/indexed_dataset.py). All integers are little-endian:
//   magic 9 bytes | version u64 = 1 | token type u8 | sequences u64 | document indices u64 = documents + 1
//   length i32[sequences] | byte offset i64[sequences] | document index i64[documents + 1] (first 0, last = sequences)
// The header is 34 bytes long, so the arrays are unaligned.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace trainhost::megatron {

static_assert(std::endian::native == std::endian::little, "token stores are read in place");

inline constexpr std::string_view kMagic{"MMIDIDX\0\0", 9};
inline constexpr uint64_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 34;

enum class TokenType : uint8_t { kU8 = 1, kI8 = 2, kI16 = 3, kI32 = 4, kI64 = 5, kU16 = 8 };

// Bytes of a token; 0 for types that no token has (6 and 7 are floating point).
constexpr uint64_t token_bytes(TokenType type) {
  switch (type) {
    case TokenType::kU8:
    case TokenType::kI8:
      return 1;
    case TokenType::kI16:
    case TokenType::kU16:
      return 2;
    case TokenType::kI32:
      return 4;
    case TokenType::kI64:
      return 8;
  }
  return 0;
}

// Megatron's own choice.
constexpr TokenType token_type_for(uint32_t vocabulary_size) { return vocabulary_size < 65500 ? TokenType::kU16 : TokenType::kI32; }

template <class Integer>
Integer load(const char *bytes) {
  Integer value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace trainhost::megatron
