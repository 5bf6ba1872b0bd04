// The scores of a tile of queries against all keys before them are small enough to stay in cache, so softmax is done on whole rows; the
// tiles beyond the diagonal and between documents are never computed. A document and a head belong to one thread, so no result depends
// on the number of threads.
#include "attention.h"

#include <algorithm>
#include <cmath>

#include "matrix.h"

namespace trainhost::minicpm {
namespace {

constexpr int64_t kQueries = 64;  // of a tile
constexpr int64_t kGrain = 16;    // rows

}  // namespace

Attention::Attention(const sdk::Host &host, const Configuration &configuration)
    : host_(host),
      kernels_(kernels()),
      heads_(configuration.heads),
      kv_heads_(configuration.kv_heads),
      group_(heads_ / kv_heads_),
      head_dimension_(configuration.head_dimension()),
      qkv_width_(configuration.qkv_width()),
      positions_(configuration.sequence_length),
      scale_(static_cast<float>(1 / std::sqrt(static_cast<double>(head_dimension_)))) {
  for (int64_t position = 0; position < positions_; ++position) {
    for (int64_t i = 0; i < head_dimension_ / 2; ++i) {
      const double angle = static_cast<double>(position) *
                           std::pow(configuration.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dimension_));
      cosine_.push_back(static_cast<float>(std::cos(angle)));
      sine_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
}

void Attention::forward(const Batch &batch, float *qkv, float *output, float *log_sum_exp, float *scratch) const {
  rotate(batch, qkv, 1);
  for_each_document(batch, heads_, scratch, [&](Document document, int64_t head, float *lane) {
    document_forward(document, head, qkv, output, log_sum_exp + head * batch.rows, lane);
  });
}

void Attention::document_forward(Document document, int64_t head, const float *qkv, float *output, float *log_sum_exp,
                                 float *scores) const {
  const int64_t d = head_dimension_, out_width = heads_ * d;
  const float *q = qkv + document.first * qkv_width_ + head * d;
  const float *k = qkv + document.first * qkv_width_ + (heads_ + head / group_) * d;
  const float *v = k + kv_heads_ * d;
  for (int64_t first = 0; first < document.length; first += kQueries) {
    const int64_t queries = std::min(kQueries, document.length - first), keys = first + queries;
    const Matrix tile(scores, queries, keys);
    multiply(Matrix(q + first * qkv_width_, queries, d, qkv_width_), Matrix(k, keys, d, qkv_width_).transposed(), tile, scale_);
    kernels_.causal_softmax(scores, queries, keys, first, log_sum_exp + document.first + first);
    multiply(tile, Matrix(v, keys, d, qkv_width_), Matrix(output + (document.first + first) * out_width + head * d, queries, d, out_width));
  }
}

void Attention::backward(const Batch &batch, float *qkv, const float *output, const float *log_sum_exp, const float *output_gradient,
                         float *scratch) const {
  for_each_document(batch, kv_heads_, scratch, [&](Document document, int64_t kv_head, float *lane) {
    document_backward(document, kv_head, qkv, output, log_sum_exp, output_gradient, batch.rows, lane);
  });
  rotate(batch, qkv, -1);
}

// Each tile of queries is replaced by its gradient as soon as it has been used; keys and values serve all tiles and heads of the group,
// so their gradients are gathered in scratch. The last tile comes first because it is the one that sees all keys.
void Attention::document_backward(Document document, int64_t kv_head, float *qkv, const float *output, const float *log_sum_exp,
                                  const float *output_gradient, int64_t rows, float *scratch) const {
  const int64_t d = head_dimension_, out_width = heads_ * d;
  float *const k = qkv + document.first * qkv_width_ + (heads_ + kv_head) * d;
  float *const v = k + kv_heads_ * d;
  float *const dk = scratch;                      // [length, D]
  float *const dv = dk + document.length * d;     // [length, D]
  float *const delta = dv + document.length * d;  // [kQueries]
  float *const scores = delta + kQueries;         // [queries, keys]
  float *const dscores = scores + kQueries * document.length;
  bool add = false;
  for (int64_t head = kv_head * group_; head < (kv_head + 1) * group_; ++head) {
    for (int64_t first = (document.length - 1) / kQueries * kQueries; first >= 0; first -= kQueries) {
      const int64_t queries = std::min(kQueries, document.length - first), keys = first + queries, row = document.first + first;
      const float *const o = output + row * out_width + head * d;
      const float *const d_o = output_gradient + row * out_width + head * d;
      const Matrix q(qkv + row * qkv_width_ + head * d, queries, d, qkv_width_), dout(d_o, queries, d, out_width);
      const Matrix key(k, keys, d, qkv_width_), value(v, keys, d, qkv_width_);
      const Matrix p(scores, queries, keys), ds(dscores, queries, keys);
      multiply(q, key.transposed(), p, scale_);
      multiply(dout, value.transposed(), ds);
      kernels_.row_products(o, d_o, queries, d, out_width, delta);
      kernels_.causal_softmax_backward(scores, dscores, queries, keys, first, log_sum_exp + head * rows + row, delta);
      multiply(p.transposed(), dout, Matrix(dv, keys, d), 1, add);
      multiply(ds.transposed(), q, Matrix(dk, keys, d), scale_, add);
      multiply(ds, key, q, scale_);
      add = true;
    }
  }
  for (int64_t t = 0; t < document.length; ++t) {
    std::copy_n(dk + t * d, d, k + t * qkv_width_);
    std::copy_n(dv + t * d, d, v + t * qkv_width_);
  }
}

void Attention::rotate(const Batch &batch, float *qkv, float direction) const {
  host_.parallel_for(batch.rows, kGrain, [&](int64_t begin, int64_t end) {
    kernels_.rotate(qkv, batch.positions, cosine_.data(), sine_.data(), direction, heads_ + kv_heads_, head_dimension_, qkv_width_, begin,
                    end);
  });
}

// task(document, head, scratch of its thread) for all documents and heads. Each thread gets a stretch of them of about the same cost,
// which grows with the square of a document's length.
template <class Task>
void Attention::for_each_document(const Batch &batch, int64_t heads, float *scratch, Task &&task) const {
  const auto starts = batch.document_starts;
  const auto cost = [&](size_t d) {
    const int64_t length = starts[d + 1] - starts[d];
    return length * (length + kQueries);
  };
  int64_t total = 0;
  for (size_t d = 0; d + 1 < starts.size(); ++d) total += heads * cost(d);
  const int64_t lanes = thread_count(), size = lane_size(batch.shape());
  host_.parallel_for(lanes, 1, [&](int64_t begin, int64_t end) {
    const int64_t first = total * begin / lanes, last = total * end / lanes;
    int64_t before = 0;
    for (int64_t head = 0; head < heads; ++head) {
      for (size_t d = 0; d + 1 < starts.size(); before += cost(d), ++d) {
        if (before < first || before >= last) continue;
        task(Document{starts[d], starts[d + 1] - starts[d]}, head, scratch + begin * size);
      }
    }
  });
}

int64_t Attention::lane_size(const BatchShape &shape) const {
  return (2 * shape.longest_document * (head_dimension_ + kQueries) + kQueries + 15) / 16 * 16;
}

int64_t Attention::scratch_size(const BatchShape &shape) const { return thread_count() * lane_size(shape); }

}  // namespace trainhost::minicpm
