// A micro-batch as tensors.
#pragma once

#include "libtorch/tensor.h"
#include "trainhost/kinds/model.h"

namespace trainhost::minicpm {

using libtorch::wrap;

struct TensorBatch {
  explicit TensorBatch(const th_batch &batch)
      : sequences(batch.sequences),
        length(batch.sequence_length),
        documents(batch.document_count),
        rows(sequences * length),
        tokens(wrap(batch.tokens, rows)),
        targets(wrap(batch.targets, rows)),
        positions(wrap(batch.positions, rows)),
        document_starts(wrap(batch.document_starts, documents + 1)),
        loss_weights(wrap(batch.loss_weights, rows)),
        loss_scale(batch.loss_scale) {
    if (batch.token_losses.data != nullptr) token_losses = wrap(batch.token_losses, rows);
  }

  // Every sequence starts a document, so these are the ones without a second document.
  bool one_document_each() const { return documents == sequences; }

  int64_t sequences, length, documents, rows;
  at::Tensor tokens, targets, positions;  // [rows] int32
  at::Tensor document_starts;             // [documents + 1] int32
  at::Tensor loss_weights;                // [rows] float32
  double loss_scale;
  at::Tensor token_losses;  // [rows] float32, or undefined
};

}  // namespace trainhost::minicpm
