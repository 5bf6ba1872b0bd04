// The state of byte_bpe: a tokenizer.json of Hugging Face tokenizers, model BPE, pre-tokenizer and decoder ByteLevel.
#pragma once

#include <string>
#include <string_view>

#include "vocabulary.h"

namespace trainhost::byte_bpe {

// Throws Failure: TH_CORRUPT when the text is not a sound tokenizer.json (every id once, all single bytes, every merge of known tokens,
// once), TH_UNSUPPORTED when it asks for what would give other ids than this encoder (a normalizer, another pre-tokenizer, ...).
Vocabulary read_tokenizer_json(std::string_view text);

// What Hugging Face tokenizers reads back as the same tokenizer; the same vocabulary gives the same text.
std::string write_tokenizer_json(const Vocabulary &vocabulary);

}  // namespace trainhost::byte_bpe
