// The host's bytes on their way to a GPU.
#pragma once

#include <array>
#include <cstddef>

#include <cuda_runtime_api.h>

namespace trainhost {

// Two halves of pinned memory. Uploads fill one half, one behind the other, while the GPU still copies from the other; only when a half
// comes to be filled again must its copies be done. One thread. May throw c10::Error.
class UploadStaging {
 public:
  // On the current GPU; `stream` outlives it.
  explicit UploadStaging(cudaStream_t stream);
  ~UploadStaging();
  UploadStaging(const UploadStaging &) = delete;
  UploadStaging &operator=(const UploadStaging &) = delete;

  // Enqueues it in the stream; the host's memory may change at return.
  void upload(void *to, const void *host_from, size_t bytes);

 private:
  struct Half {
    std::byte *memory = nullptr;
    cudaEvent_t copied = nullptr;  // after the half's latest copy
  };
  void release();

  const cudaStream_t stream_;
  std::array<Half, 2> halves_;
  size_t filling_ = 0, filled_ = 0;  // which half, and how far
};

}  // namespace trainhost
