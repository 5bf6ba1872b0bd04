#include "device/cuda/gpu_device.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/Context.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>

#include "collectives/c10d/thrown_failure.h"
#include "device/cuda/tensor_operations.h"
#include "device/cuda/upload_staging.h"
#include "trainhost/tensor.h"

namespace trainhost {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

constexpr size_t kAllocatorAlignment = 512;

// Blocks whose alignment is beyond the allocator's: where the allocator's own block begins.
class AlignedBlocks {
 public:
  void *add(void *block, size_t alignment) {
    const auto address = reinterpret_cast<uintptr_t>(block);
    auto *const aligned = reinterpret_cast<void *>((address + alignment - 1) / alignment * alignment);
    const std::lock_guard lock(mutex_);
    blocks_.emplace(aligned, block);
    return aligned;
  }
  void *remove(void *memory) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(memory);
    if (found == blocks_.end()) return memory;
    void *const block = found->second;
    blocks_.erase(found);
    return block;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<void *, void *> blocks_;
};

class GpuDevice : public Device {
 public:
  // The GPU is the current one.
  explicit GpuDevice(c10::DeviceIndex index)
      : stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, index)), operations_(stream_.device()), staging_(stream_.stream()) {}
  ~GpuDevice() override {
    attempt([&] { stream_.synchronize(); });  // nothing is under way when the staging memory goes
  }

  int32_t type() const override { return TH_DEVICE_CUDA; }
  int32_t index() const override { return stream_.device_index(); }
  void *stream() const override { return stream_.stream(); }

  void *allocate(size_t bytes, size_t alignment) override {
    const bool aligned = alignment <= kAllocatorAlignment;
    try {
      const c10::cuda::CUDAGuard guard(stream_.device_index());
      void *const block = allocator::raw_alloc_with_stream(std::max<size_t>(bytes, 1) + (aligned ? 0 : alignment), stream_.stream());
      return aligned ? block : aligned_blocks_.add(block, alignment);
    } catch (const c10::OutOfMemoryError &) {
      return nullptr;
    } catch (const std::exception &problem) {
      note(problem);
      return nullptr;
    }
  }
  void deallocate(void *memory, size_t) override {
    if (memory == nullptr) return;
    attempt([&] { allocator::raw_delete(aligned_blocks_.remove(memory)); });
  }
  uint64_t available_bytes() const override {
    try {
      const auto total = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
      const auto stats = allocator::getDeviceStats(stream_.device_index());
      const auto kept = stats.reserved_bytes[total].current - stats.allocated_bytes[total].current;
      return allocator::get()->getMemoryInfo(stream_.device_index()).first + static_cast<uint64_t>(std::max<int64_t>(kept, 0));
    } catch (const std::exception &problem) {
      note(problem);
      return 0;
    }
  }

  void upload(void *to, const void *from, size_t bytes) override {
    attempt([&] { staging_.upload(to, from, bytes); });
  }
  void download(void *to, const void *from, size_t bytes) override {
    attempt([&] {
      C10_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_.stream()));
      stream_.synchronize();
    });
  }
  void copy(void *to, const void *from, size_t bytes) override {
    attempt([&] { C10_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.stream())); });
  }

  void fill(float *values, float value, size_t count) override {
    attempt([&] { operations_.fill(values, value, count); });
  }
  void add(float *to, const float *from, size_t count) override {
    attempt([&] { operations_.add(to, from, count); });
  }
  void subtract_from(float *to, const float *from, size_t count) override {
    attempt([&] { operations_.subtract_from(to, from, count); });
  }
  void round_to_bfloat16(uint16_t *out, const float *values, size_t count) override {
    attempt([&] { operations_.round_to_bfloat16(out, values, count); });
  }
  void sum_products(const float *a, const float *b, std::span<const FloatRange> blocks, std::span<double> sums) override {
    attempt([&] { operations_.sum_products(a, b, blocks, sums); });
  }

  Result<> synchronise() override {
    attempt([&] { stream_.synchronize(); });
    const std::lock_guard lock(mutex_);
    if (problem_.empty()) return {};
    return failure(ErrorKind::kUnavailable, fmt::format("GPU {} failed: {}", index(), problem_));
  }

 private:
  // In the device's stream; what is thrown is kept for synchronise().
  template <class Operation>
  void attempt(Operation operation) {
    try {
      const c10::cuda::CUDAStreamGuard guard(stream_);
      operation();
    } catch (const std::exception &problem) {
      note(problem);
    }
  }
  // The first problem explains those that follow.
  void note(const std::exception &problem) const {
    const std::lock_guard lock(mutex_);
    if (problem_.empty()) problem_ = first_line_of(problem);
  }

  const c10::cuda::CUDAStream stream_;
  const TensorOperations operations_;
  UploadStaging staging_;
  AlignedBlocks aligned_blocks_;
  mutable std::mutex mutex_;
  mutable std::string problem_;
};

void configure_process(bool deterministic) {
  if (deterministic) ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);  // read when the first handle is made
  if (std::getenv("PYTORCH_CUDA_ALLOC_CONF") == nullptr && std::getenv("PYTORCH_ALLOC_CONF") == nullptr) {
    c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
  }
  at::Context &context = at::globalContext();
  context.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);  // debugging help that costs a pass over every new tensor
  context.setDeterministicCuDNN(deterministic);
  context.setBenchmarkCuDNN(false);
  std::vector<int64_t> attention;
  for (const at::SDPBackend backend : {at::SDPBackend::cudnn_attention, at::SDPBackend::flash_attention,
                                       at::SDPBackend::efficient_attention, at::SDPBackend::math, at::SDPBackend::overrideable}) {
    attention.push_back(static_cast<int64_t>(backend));
  }
  context.setSDPPriorityOrder(attention);
}

}  // namespace

Result<std::unique_ptr<Device>> open_gpu(int32_t index, bool deterministic) try {
  // LibTorch looks for its CUDA half once, at the first question about it.
  if (!at::hasCUDA()) {
    return failure(ErrorKind::kUnavailable,
                   "LibTorch finds no GPU: CUDA does not start, or LibTorch was used before this trainhost loaded its CUDA half");
  }
  configure_process(deterministic);
  at::globalContext().lazyInitDevice(at::kCUDA);
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(index));
  return std::make_unique<GpuDevice>(static_cast<c10::DeviceIndex>(index));
} catch (const std::exception &problem) {
  return failure(ErrorKind::kUnavailable, fmt::format("GPU {} cannot be used: {}", index, first_line_of(problem)));
}

}  // namespace trainhost
