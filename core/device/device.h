// Where a run computes: memory, and the few operations on it that the host itself needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"

namespace trainhost {

// Floats [begin, end) of a buffer.
struct FloatRange {
  size_t begin = 0, end = 0;
  size_t size() const { return end - begin; }
};

// Pointers are to the device's memory unless a name says host. On a device with a stream everything is enqueued there in order and returns
// at once, except where it says that it waits. One thread, except allocate and deallocate, which any thread may call.
class Device {
 public:
  virtual ~Device() = default;
  virtual int32_t type() const = 0;   // TH_DEVICE_CPU, TH_DEVICE_CUDA
  virtual int32_t index() const = 0;  // among those of its type
  virtual void *stream() const = 0;   // as th_call takes it; null on CPUs

  // Contents are undefined; null when there is none. alignment is a power of two up to 4096. Memory that is given back while work that
  // uses it is enqueued is reused only by what is enqueued later.
  virtual void *allocate(size_t bytes, size_t alignment = 64) = 0;
  virtual void deallocate(void *memory, size_t bytes) = 0;
  virtual uint64_t available_bytes() const = 0;

  // The host's memory may change as soon as upload returns; download waits until it is there.
  virtual void upload(void *to, const void *host_from, size_t bytes) = 0;
  virtual void download(void *host_to, const void *from, size_t bytes) = 0;
  virtual void copy(void *to, const void *from, size_t bytes) = 0;

  virtual void fill(float *values, float value, size_t count) = 0;
  // to[i] += from[i]
  virtual void add(float *to, const float *from, size_t count) = 0;
  // to[i] = from[i] - to[i]
  virtual void subtract_from(float *to, const float *from, size_t count) = 0;
  // out[i] = values[i] rounded to the nearest bfloat16, ties to even.
  virtual void round_to_bfloat16(uint16_t *out, const float *values, size_t count) = 0;
  // host_sums[i]: the products of a's and b's values in blocks[i], added in double precision in an order of its own; waits.
  virtual void sum_products(const float *a, const float *b, std::span<const FloatRange> blocks, std::span<double> host_sums) = 0;
  void sum_squares(const float *values, std::span<const FloatRange> blocks, std::span<double> host_sums) {
    sum_products(values, values, blocks, host_sums);
  }

  // Waits for all that was enqueued. kUnavailable when the device reports an error, which an earlier operation may have caused.
  virtual Result<> synchronise() = 0;
};

// The process's CPUs: everything is done when a call returns.
Device &cpu_device();

// One GPU, by a module that is loaded now (libtrainhost_cuda.so, beside the c10d module); index: among those that the driver shows this
// process. deterministic: operators that give the same bits each time, for the whole process; without it faster ones may be chosen. kRecipe
// in one sentence when this trainhost was built without CUDA, or when there is no such GPU or no driver.
Result<std::unique_ptr<Device>> open_cuda_device(int32_t index, bool deterministic = true);
// Whether open_cuda_device can succeed: the driver shows a GPU, and the module is there. Loads nothing of CUDA but the driver.
bool cuda_is_there();

}  // namespace trainhost
