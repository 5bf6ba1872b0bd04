#include "collectives/c10d_module.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "base/program.h"

namespace trainhost {
namespace {

Result<const C10dModule *> load() {
  const std::string path = installation_folder() + "/lib/libtrainhost_c10d.so";
  void *library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return failure(ErrorKind::kInternal, fmt::format("{}: cannot be loaded: {}", path, ::dlerror()));
  const auto entry = reinterpret_cast<const C10dModule *(*)()>(::dlsym(library, "trainhost_c10d_module"));
  if (entry == nullptr) return failure(ErrorKind::kInternal, fmt::format("{}: is not the library that belongs to this program", path));
  return entry();
}

}  // namespace

Result<const C10dModule *> c10d_module() {
  static const auto *const module = new Result<const C10dModule *>(load());
  return *module;
}

}  // namespace trainhost
