#include "elementwise/tensor_path.hpp"

#include <filesystem>

#include <dlfcn.h>

namespace elementwise {
namespace {

const TensorOptimizers &open() {
  Dl_info own{};
  ::dladdr(reinterpret_cast<const void *>(&open), &own);
  const auto path = std::filesystem::path(own.dli_fname).parent_path().parent_path() / "lib" / "libtrainhost_tensor_optimizers.so";
  const auto refuse = [&](const std::string &why) {
    throw trainhost::sdk::Failure(TH_UNSUPPORTED, "its updates need " + path.string() + ", which " + why);
  };
  void *const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) refuse(std::string("cannot be loaded: ") + ::dlerror());
  const auto entry = reinterpret_cast<TensorOptimizersEntry *>(::dlsym(library, kTensorOptimizersEntry));
  if (entry == nullptr) refuse("is not the library that belongs to this plugin");
  return *entry();
}

}  // namespace

const TensorOptimizers &tensor_optimizers() {
  static const TensorOptimizers &optimizers = open();
  return optimizers;
}

}  // namespace elementwise
