#include "device/cuda/tensor_operations.h"

#include <algorithm>

#include <ATen/ops/empty.h>

#include "device/cuda/borrowed_tensor.h"

namespace trainhost {
namespace {

constexpr size_t kProductsAtOnce = 1 << 22;  // floats, as doubles in memory

// How many of the blocks follow each other in memory and are of the first one's length, up to `most` floats in all, but at least one.
size_t run_length(std::span<const FloatRange> blocks, size_t most) {
  size_t run = 1;
  while (run < blocks.size() && blocks[run].begin == blocks[run - 1].end && blocks[run].size() == blocks[0].size() &&
         (run + 1) * blocks[0].size() <= most) {
    ++run;
  }
  return run;
}

}  // namespace

void TensorOperations::fill(float *values, float value, size_t count) const {
  borrowed_tensor(values, {static_cast<int64_t>(count)}, at::kFloat, device_).fill_(value);
}

void TensorOperations::add(float *to, const float *from, size_t count) const {
  const auto length = static_cast<int64_t>(count);
  borrowed_tensor(to, {length}, at::kFloat, device_).add_(borrowed_tensor(from, {length}, at::kFloat, device_));
}

void TensorOperations::subtract_from(float *to, const float *from, size_t count) const {
  const auto length = static_cast<int64_t>(count);
  borrowed_tensor(to, {length}, at::kFloat, device_).neg_().add_(borrowed_tensor(from, {length}, at::kFloat, device_));
}

void TensorOperations::round_to_bfloat16(uint16_t *out, const float *values, size_t count) const {
  const auto length = static_cast<int64_t>(count);
  borrowed_tensor(out, {length}, at::kBFloat16, device_).copy_(borrowed_tensor(values, {length}, at::kFloat, device_));
}

void TensorOperations::sum_products(const float *a, const float *b, std::span<const FloatRange> blocks, std::span<double> host_sums) const {
  const at::Tensor sums = at::empty({static_cast<int64_t>(blocks.size())}, at::TensorOptions(at::kDouble).device(device_));
  for (size_t done = 0; done < blocks.size();) {
    const size_t run = run_length(blocks.subspan(done), kProductsAtOnce);
    const auto rows = static_cast<int64_t>(run), columns = static_cast<int64_t>(blocks[done].size());
    const auto floats = [&](const float *values) {
      return borrowed_tensor(values + blocks[done].begin, {rows, columns}, at::kFloat, device_);
    };
    const at::Tensor products = floats(a).to(at::kDouble).mul_(floats(b));
    sums.narrow(0, static_cast<int64_t>(done), rows).copy_(products.sum(1));
    done += run;
  }
  const at::Tensor host = sums.cpu();
  std::copy_n(host.const_data_ptr<double>(), host_sums.size(), host_sums.data());
}

}  // namespace trainhost
