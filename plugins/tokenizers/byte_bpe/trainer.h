// Learns the merges from text.
#pragma once

#include <cstdint>

#include "trainhost/cpp/plugin.hpp"
#include "trainhost/ext/tokenizer_train.h"
#include "vocabulary.h"

namespace trainhost::byte_bpe {

// The vocabulary of at most vocabulary_size ids (257 at least) that Hugging Face's BpeTrainer learns from the same documents, with
// min_frequency 0, the special token <|endoftext|> and the byte-level alphabet: again and again the most frequent pair of neighbours,
// of equally frequent ones that with the smallest ids, becomes a token. Smaller when no pairs are left. Each document is split on its own;
// counting runs on the host's threads, and their number changes nothing. Throws Failure with TH_CANCELLED, or what `documents` failed with.
Vocabulary train(const sdk::Host &host, uint32_t vocabulary_size, const th_document_source &documents);

}  // namespace trainhost::byte_bpe
