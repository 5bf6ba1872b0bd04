// What determines the ids of a text: the bytes of each id, and the merges in their order.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trainhost::byte_bpe {

inline constexpr std::string_view kEndOfText = "<|endoftext|>";

struct Token {
  std::string bytes;     // of a special token: its name
  bool special = false;  // stands for no bytes and never comes from text
};

struct Merge {
  uint32_t left, right, result;
};

struct Vocabulary {
  std::vector<Token> tokens;             // by id
  std::vector<Merge> merges;             // the earlier goes first
  std::array<uint32_t, 256> byte_ids{};  // the id of each single byte
  std::optional<uint32_t> end_id;        // of kEndOfText
};

// kEndOfText and the single bytes in the order in which Hugging Face's trainer numbers them; no merges.
Vocabulary untrained_vocabulary();

// 32 bytes over all that determines the ids, the pattern and its character classes included; not made against forgery.
std::array<uint8_t, 32> fingerprint(const Vocabulary &vocabulary);

}  // namespace trainhost::byte_bpe
