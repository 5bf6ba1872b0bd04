// What the trainer gets from the data: token batches in host memory.
#pragma once

#include <cstdint>
#include <vector>

namespace trainhost {

// Which sample a sequence of a batch is: window `window` of source `source` in epoch `epoch`.
struct SampleId {
  uint32_t source = 0;
  uint64_t epoch = 0, window = 0;
  bool operator==(const SampleId &) const = default;
};

// A micro-batch: B sequences of T tokens, row-major.
struct TokenBatch {
  uint32_t sequences = 0, sequence_length = 0;
  std::vector<int32_t> tokens, targets;  // [B, T]
  std::vector<float> loss_weights;       // [B, T]; 0 for padding, the masked and the last token of a cut
  std::vector<int32_t> positions;        // [B, T] from 0 in each document
  std::vector<int32_t> document_starts;  // offsets into B*T, ending with B*T; with the document mask off, the sequence starts
  std::vector<SampleId> samples;         // [B]
  double weight() const;                 // sum of loss_weights
};

// Which of a step's micro-batches: those whose number leaves `index` when divided by `of`.
struct Share {
  uint32_t index = 0, of = 1;
};

// Micro-batches of one optimizer step.
struct StepBatch {
  uint64_t step = 0;
  std::vector<TokenBatch> micro_batches;
  double weight() const;
};

}  // namespace trainhost
