// The elementwise half of the model: plain loops that the compiler turns into vector code. Every file of this folder but dispatch.cpp
// is compiled once per instruction set; kernels() picks what the processor has.
//
// All matrices are float32, row-major and contiguous unless a stride is given. A range [begin, end) is the part of the rows that this
// call does (columns where it says so), so that a caller can spread the work over threads: no result depends on how it was cut.
// C width, D head dimension, F feed-forward width, V vocabulary.
#pragma once

#include <cstdint>

namespace trainhost::minicpm {

struct Kernels {
  // Embedding: y[t] = scale * table[tokens[t]]. y [rows, C].
  void (*embed)(const float *table, const int32_t *tokens, float scale, int64_t width, int64_t begin, int64_t end, float *y);
  // Its gradient: table[tokens[t]] += scale * dy[t] for all rows in their order, in the columns [begin, end).
  void (*embed_backward)(const float *dy, const int32_t *tokens, float scale, int64_t rows, int64_t width, int64_t begin, int64_t end,
                         float *table_gradient);

  // RMSNorm: y = x * r * weight with r = 1 / sqrt(mean(x^2) + epsilon), which is kept in inverse_rms [rows].
  void (*rms_norm)(const float *x, const float *weight, float epsilon, int64_t width, int64_t begin, int64_t end, float *y,
                   float *inverse_rms);
  // The same y again from the r that was kept.
  void (*rms_norm_again)(const float *x, const float *weight, const float *inverse_rms, int64_t width, int64_t begin, int64_t end,
                         float *y);
  // dx = skipped + r * (w - x * r^2 * mean(w * x)) with w = dy * weight. skipped is the gradient that came by the residual path, or null
  // for none; dx may be skipped. weight_gradient [C] is set to the sum of dy * x * r over the rows of this call.
  void (*rms_norm_backward)(const float *dy, const float *x, const float *weight, const float *inverse_rms, const float *skipped,
                            int64_t width, int64_t begin, int64_t end, float *dx, float *weight_gradient);
  // sum = (add ? sum : 0) + parts[0] + parts[1] + ..., parts [count, C], in the columns [begin, end).
  void (*sum_parts)(const float *parts, int64_t count, int64_t width, int64_t begin, int64_t end, bool add, float *sum);

  // Rotary positions on the first `heads` heads of each row, in place: (a, b) becomes (a cos - b sin, b cos + a sin), a and b the halves
  // of a head. cosine, sine [positions, D/2]. direction 1, or -1 to turn back, which is the gradient.
  void (*rotate)(float *x, const int32_t *positions, const float *cosine, const float *sine, float direction, int64_t heads,
                 int64_t head_dimension, int64_t stride, int64_t begin, int64_t end);

  // Attention scores of a tile of queries to softmax, in place. Query i sees the keys [0, first + i], the rest become 0.
  // scores [rows, keys]; log_sum_exp [rows] is kept for the gradient.
  void (*causal_softmax)(float *scores, int64_t rows, int64_t keys, int64_t first, float *log_sum_exp);
  // scores become probabilities p again, and gradient (of p) becomes that of the scores: p * (gradient - delta), where
  // delta [rows] = sum of p * gradient = sum of output * its gradient.
  void (*causal_softmax_backward)(float *scores, float *gradient, int64_t rows, int64_t keys, int64_t first, const float *log_sum_exp,
                                  const float *delta);
  // products[i] = a[i] . b[i], rows of D at a stride.
  void (*row_products)(const float *a, const float *b, int64_t rows, int64_t columns, int64_t stride, float *products);

  // SwiGLU: hidden = silu(gate) * up. gate_up [rows, 2F], gate first; hidden [rows, F].
  void (*swiglu)(const float *gate_up, int64_t feed_forward, int64_t begin, int64_t end, float *hidden);
  // In place: gate_up becomes its gradient, and hidden, which held its own gradient, becomes hidden again.
  void (*swiglu_backward)(float *gate_up, int64_t feed_forward, int64_t begin, int64_t end, float *hidden);

  // losses[t] = -log softmax(logits[t])[targets[t]]. With gradients, logits become (softmax - one at the target) * scale * weights[t].
  // logits [rows, V].
  void (*cross_entropy)(float *logits, const int32_t *targets, const float *weights, float scale, bool gradients, int64_t vocabulary,
                        int64_t begin, int64_t end, float *losses);
};

// For the instruction sets x86-64 (baseline), x86-64-v3 (AVX2, FMA) and x86-64-v4 (AVX-512).
extern const Kernels kKernels_x86_64, kKernels_x86_64_v3, kKernels_x86_64_v4;

// The best of them that this processor can run. Any thread.
const Kernels &kernels();

}  // namespace trainhost::minicpm
