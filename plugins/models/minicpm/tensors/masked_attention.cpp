// H heads, K key-value heads, G = H / K heads that share one; a tile is n queries of a sequence against its first m rows as keys.
#include "tensors/masked_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros_like.h>

namespace trainhost::minicpm {
namespace {

constexpr int64_t kQueries = 64;  // of a tile

struct Tile {
  int64_t sequence;              // its first row in the batch
  int64_t first, queries, keys;  // rows of the sequence: queries [first, first + queries), keys [0, keys)

  // Of rows [R, heads, D] the queries' as [K, G n, D], so that the heads of a group are rows of one product. float32.
  at::Tensor queries_of(const at::Tensor &rows, int64_t kv_heads) const {
    const at::Tensor own = rows.narrow(0, sequence + first, queries).unflatten(1, {kv_heads, -1});  // [n, K, G, D]
    return own.permute({1, 2, 0, 3}).to(at::kFloat).flatten(1, 2).contiguous();
  }
  // And back.
  at::Tensor to_rows(const at::Tensor &groups) const {
    return groups.unflatten(1, {-1, queries}).permute({2, 0, 1, 3}).flatten(1, 2);  // [n, H, D]
  }
  // Of rows [R, K, D] the keys' as [K, m, D], float32.
  at::Tensor keys_of(const at::Tensor &rows) const { return rows.narrow(0, sequence, keys).transpose(0, 1).to(at::kFloat).contiguous(); }
};

std::vector<Tile> tiles_of(const TensorBatch &batch) {
  std::vector<Tile> tiles;
  for (int64_t sequence = 0; sequence < batch.rows; sequence += batch.length) {
    for (int64_t first = 0; first < batch.length; first += kQueries) {
      const int64_t queries = std::min(kQueries, batch.length - first);
      tiles.push_back({sequence, first, queries, first + queries});
    }
  }
  return tiles;
}

// The number of the document that each row belongs to, [R].
at::Tensor documents_of(const TensorBatch &batch) {
  return at::bucketize(at::arange(batch.rows, batch.positions.options()), batch.document_starts, /*out_int32=*/true, /*right=*/true);
}

// Softmax of the scores, [K, G n, m]: 0 where the key is later than the query or of another document.
at::Tensor probabilities(const Tile &tile, const at::Tensor &q, const at::Tensor &k, double scale, const at::Tensor &documents) {
  at::Tensor scores = at::bmm(q, k.transpose(1, 2)).mul_(scale);
  const at::Tensor columns = at::arange(tile.keys, documents.options());
  const at::Tensor later = columns.gt(columns.slice(0, tile.first).unsqueeze(1));  // [n, m]
  const at::Tensor own = documents.narrow(0, tile.sequence, tile.keys);
  const at::Tensor apart = own.ne(own.slice(0, tile.first).unsqueeze(1));
  scores.unflatten(1, {-1, tile.queries}).masked_fill_(later.logical_or(apart), -std::numeric_limits<double>::infinity());
  return at::softmax(scores, -1);
}

}  // namespace

at::Tensor masked_attention(const TensorBatch &batch, const AttentionInputs &inputs, double scale) {
  const int64_t kv_heads = inputs.k.size(1);
  const at::Tensor documents = documents_of(batch);
  at::Tensor output = at::empty_like(inputs.q, at::MemoryFormat::Contiguous);
  for (const Tile &tile : tiles_of(batch)) {
    const at::Tensor q = tile.queries_of(inputs.q, kv_heads), k = tile.keys_of(inputs.k), v = tile.keys_of(inputs.v);
    const at::Tensor p = probabilities(tile, q, k, scale, documents);
    output.narrow(0, tile.sequence + tile.first, tile.queries).copy_(tile.to_rows(at::bmm(p, v)));
  }
  return output;
}

// dp = da v^T, dS = p (dp - sum of a da), dq = dS k, dk = dS^T q, dv = p^T da. Keys and values serve all later tiles, so their gradients
// are gathered in float32.
void masked_attention_backward(const TensorBatch &batch, const AttentionInputs &inputs, double scale, const at::Tensor &output,
                               const at::Tensor &output_gradient, const AttentionInputs &gradients) {
  const int64_t kv_heads = inputs.k.size(1);
  const at::Tensor documents = documents_of(batch);
  at::Tensor dk = at::zeros_like(inputs.k, at::TensorOptions(at::kFloat), at::MemoryFormat::Contiguous), dv = at::zeros_like(dk);
  for (const Tile &tile : tiles_of(batch)) {
    const at::Tensor q = tile.queries_of(inputs.q, kv_heads), k = tile.keys_of(inputs.k), v = tile.keys_of(inputs.v);
    const at::Tensor a = tile.queries_of(output, kv_heads), da = tile.queries_of(output_gradient, kv_heads);
    const at::Tensor p = probabilities(tile, q, k, scale, documents);
    const at::Tensor ds = at::bmm(da, v.transpose(1, 2)).sub_(at::mul(a, da).sum(-1, true)).mul_(p).mul_(scale);
    dv.narrow(0, tile.sequence, tile.keys).add_(at::bmm(p.transpose(1, 2), da).transpose(0, 1));
    dk.narrow(0, tile.sequence, tile.keys).add_(at::bmm(ds.transpose(1, 2), q).transpose(0, 1));
    gradients.q.narrow(0, tile.sequence + tile.first, tile.queries).copy_(tile.to_rows(at::bmm(ds, k)));
  }
  gradients.k.copy_(dk);
  gradients.v.copy_(dv);
}

}  // namespace trainhost::minicpm
