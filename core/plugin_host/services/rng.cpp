#include "plugin_host/services/rng.h"

#include "base/random.h"

namespace trainhost {
namespace {

void uniform(uint64_t seed, uint64_t stream, uint64_t first, uint64_t count, float *out) noexcept {
  fill_uniform(seed, stream, first, std::span(out, count));
}

void normal(uint64_t seed, uint64_t stream, uint64_t first, uint64_t count, float *out) noexcept {
  fill_normal(seed, stream, first, std::span(out, count));
}

}  // namespace

const th_rng &rng_service() {
  static constexpr th_rng service{.struct_size = sizeof(th_rng), .reserved = 0, .uniform = uniform, .normal = normal};
  return service;
}

}  // namespace trainhost
