#include "device/cuda/upload_staging.h"

#include <algorithm>
#include <cstring>

#include <c10/cuda/CUDAException.h>

namespace trainhost {
namespace {

constexpr size_t kHalfBytes = 16 << 20;
constexpr size_t kAlignment = 256;  // copies of whole memory transactions

}  // namespace

UploadStaging::UploadStaging(cudaStream_t stream) : stream_(stream) {
  try {
    for (Half &half : halves_) {
      C10_CUDA_CHECK(cudaHostAlloc(reinterpret_cast<void **>(&half.memory), kHalfBytes, cudaHostAllocDefault));
      C10_CUDA_CHECK(cudaEventCreateWithFlags(&half.copied, cudaEventDisableTiming));
    }
  } catch (...) {
    release();
    throw;
  }
}

UploadStaging::~UploadStaging() { release(); }

void UploadStaging::upload(void *to, const void *from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    if (filled_ == kHalfBytes) {
      filling_ = 1 - filling_;
      filled_ = 0;
      C10_CUDA_CHECK(cudaEventSynchronize(halves_[filling_].copied));
    }
    const Half &half = halves_[filling_];
    const size_t piece = std::min(bytes - done, kHalfBytes - filled_);
    std::memcpy(half.memory + filled_, static_cast<const std::byte *>(from) + done, piece);
    C10_CUDA_CHECK(cudaMemcpyAsync(static_cast<std::byte *>(to) + done, half.memory + filled_, piece, cudaMemcpyHostToDevice, stream_));
    C10_CUDA_CHECK(cudaEventRecord(half.copied, stream_));
    done += piece;
    filled_ = std::min(kHalfBytes, (filled_ + piece + kAlignment - 1) / kAlignment * kAlignment);
  }
}

// Nothing can be done about errors here; those of the stream have been reported by others.
void UploadStaging::release() {
  for (Half &half : halves_) {
    if (half.copied != nullptr) C10_CUDA_IGNORE_ERROR(cudaEventDestroy(half.copied));
    if (half.memory != nullptr) C10_CUDA_IGNORE_ERROR(cudaFreeHost(half.memory));
  }
}

}  // namespace trainhost
