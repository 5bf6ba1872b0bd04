// What the files of one instruction set share. TRAINHOST_KERNEL_LEVEL is that set's name, given by the build; it is also the
// namespace, and only C headers are included, so that code of different sets never meets at link time.
#pragma once

#include <cstdint>

namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL {

// e^x as vector code: x = n ln 2 + r, |r| <= ln 2 / 2, and e^r by its Taylor series; relative error below 2e-7. Below -60 it is 0, so
// that no subnormal number, which is slow to multiply, comes out of a softmax; above 88 it stays at e^88. NaN stays NaN.
inline __attribute__((always_inline)) float exponential(float x) {
  constexpr float kRound = 12582912;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float bounded = x > 88.0f ? 88.0f : x < -60.0f ? -60.0f : x;
  const float shifted = bounded * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * 0.693359375f) + n * 2.12194440e-4f;
  float series = 1.0f / 5040;
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r * r + r + 1.0f;
  const float power = __builtin_bit_cast(float, (__builtin_bit_cast(int32_t, shifted) << 23) + 0x3f800000);
  return x < -60.0f ? 0.0f : series * power;
}

void embed(const float *table, const int32_t *tokens, float scale, int64_t width, int64_t begin, int64_t end, float *y);
void embed_backward(const float *dy, const int32_t *tokens, float scale, int64_t rows, int64_t width, int64_t begin, int64_t end,
                    float *table_gradient);
void rms_norm(const float *x, const float *weight, float epsilon, int64_t width, int64_t begin, int64_t end, float *y, float *inverse_rms);
void rms_norm_again(const float *x, const float *weight, const float *inverse_rms, int64_t width, int64_t begin, int64_t end, float *y);
void rms_norm_backward(const float *dy, const float *x, const float *weight, const float *inverse_rms, const float *skipped, int64_t width,
                       int64_t begin, int64_t end, float *dx, float *weight_gradient);
void sum_parts(const float *parts, int64_t count, int64_t width, int64_t begin, int64_t end, bool add, float *sum);
void rotate(float *x, const int32_t *positions, const float *cosine, const float *sine, float direction, int64_t heads,
            int64_t head_dimension, int64_t stride, int64_t begin, int64_t end);
void causal_softmax(float *scores, int64_t rows, int64_t keys, int64_t first, float *log_sum_exp);
void causal_softmax_backward(float *scores, float *gradient, int64_t rows, int64_t keys, int64_t first, const float *log_sum_exp,
                             const float *delta);
void row_products(const float *a, const float *b, int64_t rows, int64_t columns, int64_t stride, float *products);
void swiglu(const float *gate_up, int64_t feed_forward, int64_t begin, int64_t end, float *hidden);
void swiglu_backward(float *gate_up, int64_t feed_forward, int64_t begin, int64_t end, float *hidden);
void cross_entropy(float *logits, const int32_t *targets, const float *weights, float scale, bool gradients, int64_t vocabulary,
                   int64_t begin, int64_t end, float *losses);

}  // namespace trainhost::minicpm::TRAINHOST_KERNEL_LEVEL
