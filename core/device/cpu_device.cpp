#include <algorithm>
#include <bit>
#include <cstring>

#include "device/cpu_memory.h"
#include "device/device.h"
#include "device/thread_pool.h"
#include "trainhost/tensor.h"

namespace trainhost {
namespace {

constexpr int64_t kGrain = 1 << 15;      // elements that are worth waking a thread for
constexpr int64_t kCopyGrain = 1 << 20;  // bytes, likewise

double products_of(const float *a, const float *b, size_t count) {
  double lanes[8] = {};  // eight sums side by side, so that the compiler uses vectors without changing the order of addition
  const size_t whole = count / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) lanes[lane] += double{a[i + lane]} * b[i + lane];
  }
  for (size_t i = whole; i < count; ++i) lanes[i - whole] += double{a[i]} * b[i];
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

uint16_t bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);  // a quiet NaN
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

class CpuDevice : public Device {
 public:
  int32_t type() const override { return TH_DEVICE_CPU; }
  int32_t index() const override { return 0; }
  void *stream() const override { return nullptr; }
  void *allocate(size_t bytes, size_t alignment) override { return allocate_cpu(bytes, alignment); }
  void deallocate(void *memory, size_t bytes) override { deallocate_cpu(memory, bytes); }
  uint64_t available_bytes() const override { return cpu_available_bytes(); }

  void upload(void *to, const void *from, size_t bytes) override { copy(to, from, bytes); }
  void download(void *to, const void *from, size_t bytes) override { copy(to, from, bytes); }
  void copy(void *to, const void *from, size_t bytes) override {
    parallel_for(static_cast<int64_t>(bytes), kCopyGrain, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<std::byte *>(to) + begin, static_cast<const std::byte *>(from) + begin, static_cast<size_t>(end - begin));
    });
  }

  void fill(float *values, float value, size_t count) override {
    parallel_for(static_cast<int64_t>(count), kGrain, [&](int64_t begin, int64_t end) { std::fill(values + begin, values + end, value); });
  }
  void add(float *to, const float *from, size_t count) override {
    parallel_for(static_cast<int64_t>(count), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] += from[i];
    });
  }
  void subtract_from(float *to, const float *from, size_t count) override {
    parallel_for(static_cast<int64_t>(count), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = from[i] - to[i];
    });
  }
  void round_to_bfloat16(uint16_t *out, const float *values, size_t count) override {
    parallel_for(static_cast<int64_t>(count), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = bfloat16(values[i]);
    });
  }
  void sum_products(const float *a, const float *b, std::span<const FloatRange> blocks, std::span<double> sums) override {
    parallel_for(static_cast<int64_t>(blocks.size()), 16, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        sums[i] = products_of(a + blocks[i].begin, b + blocks[i].begin, blocks[i].size());
      }
    });
  }
  Result<> synchronise() override { return {}; }
};

}  // namespace

Device &cpu_device() {
  static CpuDevice *const device = new CpuDevice;  // never destroyed: buffers may outlive static objects
  return *device;
}

}  // namespace trainhost
