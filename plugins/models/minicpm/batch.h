// A micro-batch as the units read it.
#pragma once

#include <algorithm>
#include <span>

#include "trainhost/cpp/model.hpp"

namespace trainhost::minicpm {

// Where a tensor's data begins.
template <class Item>
Item *data(const th_tensor &tensor) {
  return reinterpret_cast<Item *>(static_cast<char *>(tensor.data) + tensor.byte_offset);
}

// What the sizes of scratch memory depend on.
struct BatchShape {
  int64_t rows;              // B * T tokens
  int64_t longest_document;  // rows
};

struct Batch {
  explicit Batch(const th_batch &batch)
      : rows(int64_t{batch.sequences} * batch.sequence_length),
        tokens(data<const int32_t>(batch.tokens)),
        targets(data<const int32_t>(batch.targets)),
        positions(data<const int32_t>(batch.positions)),
        document_starts(data<const int32_t>(batch.document_starts), batch.document_count + 1),
        loss_weights(data<const float>(batch.loss_weights)),
        loss_scale(batch.loss_scale),
        token_losses(batch.token_losses.data == nullptr ? nullptr : data<float>(batch.token_losses)) {}

  BatchShape shape() const {
    int64_t longest = 0;
    for (size_t d = 0; d + 1 < document_starts.size(); ++d) {
      longest = std::max<int64_t>(longest, document_starts[d + 1] - document_starts[d]);
    }
    return {rows, longest};
  }

  int64_t rows;                                 // B * T tokens
  const int32_t *tokens, *targets, *positions;  // [rows]
  std::span<const int32_t> document_starts;     // document d is the rows [document_starts[d], document_starts[d + 1])
  const float *loss_weights;                    // [rows]
  double loss_scale;
  float *token_losses;  // [rows] or null
};

}  // namespace trainhost::minicpm
