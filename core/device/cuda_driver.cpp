#include "device/cuda_driver.h"

#include <cstdlib>

#include <dlfcn.h>
#include <fmt/format.h>

namespace trainhost {
namespace {

// Of the CUDA driver API (cuda.h), which needs no toolkit: 0 is success, a device is a number.
struct Api {
  int (*init)(unsigned) = nullptr;
  int (*error_name)(int, const char **) = nullptr;
  int (*version)(int *) = nullptr;
  int (*count)(int *) = nullptr;
  int (*name)(char *, int, int) = nullptr;
  int (*memory)(size_t *, int) = nullptr;
  int (*attribute)(int *, int, int) = nullptr;
};

constexpr int kCapabilityMajor = 75, kCapabilityMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*

template <class Function>
bool find(void *library, const char *name, Function &function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

Result<Api> load_api() {
  void *const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // stays loaded: the driver keeps threads
  if (library == nullptr) return failure(ErrorKind::kUnavailable, "there is no NVIDIA driver (libcuda.so.1)");
  Api api;
  const bool complete = find(library, "cuInit", api.init) && find(library, "cuGetErrorName", api.error_name) &&
                        find(library, "cuDriverGetVersion", api.version) && find(library, "cuDeviceGetCount", api.count) &&
                        find(library, "cuDeviceGetName", api.name) && find(library, "cuDeviceTotalMem_v2", api.memory) &&
                        find(library, "cuDeviceGetAttribute", api.attribute);
  if (!complete) return failure(ErrorKind::kUnavailable, "libcuda.so.1 lacks functions of the CUDA driver API");
  return api;
}

tl::unexpected<Error> refused(const Api &api, const char *what, int code) {
  const char *name = nullptr;
  api.error_name(code, &name);
  return failure(ErrorKind::kUnavailable, fmt::format("the NVIDIA driver refuses {}: {}", what, name != nullptr ? name : "unknown error"));
}

Result<CudaDevice> describe(const Api &api, int number) {
  CudaDevice device;
  char name[256] = "";
  size_t memory = 0;
  for (const int code :
       {api.name(name, sizeof name, number), api.memory(&memory, number), api.attribute(&device.capability_major, kCapabilityMajor, number),
        api.attribute(&device.capability_minor, kCapabilityMinor, number)}) {
    if (code != 0) return refused(api, "to describe a GPU", code);
  }
  device.name = name;
  device.memory_bytes = memory;
  return device;
}

}  // namespace

Result<CudaDriver> cuda_driver() {
  TRAINHOST_TRY(const Api api, load_api());
  CudaDriver driver;
  int devices = 0;
  if (const int code = api.init(0); code != 0) return refused(api, "to start", code);
  if (const int code = api.version(&driver.version); code != 0) return refused(api, "to say its version", code);
  if (const int code = api.count(&devices); code != 0) return refused(api, "to count its GPUs", code);
  for (int number = 0; number < devices; ++number) {
    TRAINHOST_TRY(CudaDevice device, describe(api, number));
    driver.devices.push_back(std::move(device));
  }
  if (!driver.devices.empty()) return driver;
  return failure(ErrorKind::kUnavailable, std::getenv("CUDA_VISIBLE_DEVICES") != nullptr ? "CUDA_VISIBLE_DEVICES hides every GPU"
                                                                                         : "the NVIDIA driver finds no GPU");
}

}  // namespace trainhost
