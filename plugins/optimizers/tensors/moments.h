// Moments as elementwise/moments.hpp has them, on tensors of LibTorch.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include "elementwise/rounding_key.hpp"

namespace tensors {

// A state in place, or a copy of one of bfloat16.
inline at::Tensor as_float32(const at::Tensor &state) { return state.to(at::kFloat); }

// Puts what was computed into the state: nothing is left to do in place; bfloat16 is rounded as round_stochastically
// (elementwise/bfloat16.hpp) does it, to the same bits. Takes six times the memory of `computed` meanwhile.
inline void store(const at::Tensor &state, const at::Tensor &computed, const at::Tensor &gradient, const RoundingKey &key) {
  if (state.scalar_type() == at::kFloat) return;
  const auto constant = [](uint32_t bits) { return static_cast<int32_t>(bits); };
  const auto shifted = [](const at::Tensor &bits, int64_t by) { return bits.bitwise_right_shift(by).bitwise_and_((1 << (32 - by)) - 1); };
  const at::Tensor bits = computed.view(at::kInt);
  at::Tensor hash = bits.bitwise_xor(constant(key.value));
  hash.bitwise_xor_(shifted(hash, 16)).mul_(constant(0x7feb352d));
  hash.bitwise_xor_(shifted(hash, 15)).add_(gradient.view(at::kInt).bitwise_xor(constant(key.salt)));
  hash.bitwise_xor_(shifted(hash, 16)).mul_(constant(0x7feb352d));
  hash.bitwise_xor_(shifted(hash, 15)).mul_(constant(0x846ca68b));
  const at::Tensor drawn = shifted(hash, 16).add_(bits).bitwise_and_(constant(0xffff0000)).view(at::kFloat);
  state.copy_(at::where(computed.isnan(), computed, drawn));
}

}  // namespace tensors
