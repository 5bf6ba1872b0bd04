#include "collectives/c10d_module.h"

#include <filesystem>

#include <dlfcn.h>
#include <fmt/format.h>

namespace trainhost {
namespace {

Result<const C10dModule *> load() {
  std::error_code code;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", code);
  const std::string path = (program.parent_path().parent_path() / "lib" / "libtrainhost_c10d.so").string();
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
