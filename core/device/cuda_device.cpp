#include <filesystem>

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/program.h"
#include "device/cuda_driver.h"
#include "device/cuda_module.h"
#include "device/device.h"

namespace trainhost {
namespace {

std::string module_path() { return installation_folder() + "/lib/libtrainhost_cuda.so"; }

bool exists(const std::string &path) {
  std::error_code code;
  return std::filesystem::exists(path, code);
}

}  // namespace

bool cuda_is_there() { return exists(module_path()) && cuda_driver().has_value(); }

Result<const CudaModule *> cuda_module() {
  const std::string path = module_path();
  if (!exists(path)) {
    return failure(ErrorKind::kRecipe,
                   fmt::format("run.device is \"cuda\", but this trainhost was built without CUDA ({} is not there)", path));
  }
  void *const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);  // GLOBAL: plugins' operators find LibTorch's CUDA half
  if (library == nullptr) {
    return failure(ErrorKind::kRecipe, fmt::format("run.device is \"cuda\", but {} cannot be loaded: {}; third_party/setup --cuda installs "
                                                   "NVIDIA's libraries that it needs",
                                                   path, ::dlerror()));
  }
  const auto entry = reinterpret_cast<const CudaModule *(*)()>(::dlsym(library, "trainhost_cuda_module"));
  if (entry == nullptr) return failure(ErrorKind::kInternal, fmt::format("{}: is not the library that belongs to this program", path));
  return entry();
}

Result<std::unique_ptr<Device>> open_cuda_device(int32_t index, bool deterministic) {
  const auto driver = cuda_driver();
  if (!driver) return failure(ErrorKind::kRecipe, "run.device is \"cuda\", but " + driver.error().message);
  if (static_cast<size_t>(index) >= driver->devices.size()) {
    return failure(ErrorKind::kRecipe,
                   fmt::format("run.device is \"cuda\", but this process is rank {} of its machine, which shows {} GPUs; start "
                               "at most one process for each",
                               index, driver->devices.size()));
  }
  TRAINHOST_TRY(const CudaModule *const module, cuda_module());
  return module->open_device(index, deterministic);
}

}  // namespace trainhost
