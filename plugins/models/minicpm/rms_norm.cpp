#include "rms_norm.h"

#include <algorithm>

namespace trainhost::minicpm {
namespace {

constexpr int64_t kGrain = 16;        // rows
constexpr int64_t kRowsPerPart = 64;  // the weight's gradient is summed over parts of this many rows, whatever the number of threads

int64_t parts_of(int64_t rows) { return (rows + kRowsPerPart - 1) / kRowsPerPart; }

}  // namespace

RmsNorm::RmsNorm(const sdk::Host &host, const Configuration &configuration)
    : host_(host), kernels_(kernels()), width_(configuration.width), epsilon_(static_cast<float>(configuration.norm_epsilon)) {}

void RmsNorm::forward(const float *x, const float *weight, int64_t rows, float *y, float *inverse_rms) const {
  host_.parallel_for(rows, kGrain,
                     [&](int64_t begin, int64_t end) { kernels_.rms_norm(x, weight, epsilon_, width_, begin, end, y, inverse_rms); });
}

void RmsNorm::again(const float *x, const float *weight, const float *inverse_rms, int64_t rows, float *y) const {
  host_.parallel_for(rows, kGrain,
                     [&](int64_t begin, int64_t end) { kernels_.rms_norm_again(x, weight, inverse_rms, width_, begin, end, y); });
}

void RmsNorm::backward(const float *dy, const float *x, const float *weight, const float *inverse_rms, const float *skipped, int64_t rows,
                       const Gradients &gradients) const {
  host_.parallel_for(parts_of(rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * kRowsPerPart, last = std::min(first + kRowsPerPart, rows);
      kernels_.rms_norm_backward(dy, x, weight, inverse_rms, skipped, width_, first, last, gradients.dx, gradients.parts + part * width_);
    }
  });
  kernels_.sum_parts(gradients.parts, parts_of(rows), width_, 0, width_, gradients.add, gradients.weight_gradient);
}

int64_t RmsNorm::parts_size(int64_t rows) const { return parts_of(rows) * width_; }

}  // namespace trainhost::minicpm
