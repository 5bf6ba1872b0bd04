#include "plugin_host/pinned_copy.h"

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file_system.h"
#include "base/hash.h"
#include "plugin_host/elf_file.h"

namespace trainhost {
namespace {

Result<> write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failure(ErrorKind::kPlugin, std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

std::string with_origin(std::string folder, const std::string &origin) {
  for (const std::string_view name : {"${ORIGIN}", "$ORIGIN"}) {
    if (const size_t at = folder.find(name); at != std::string::npos) folder.replace(at, name.size(), origin);
  }
  return folder;
}

void load_from(const std::vector<std::string> &folders, const std::string &library) {
  for (const std::string &folder : folders) {
    const std::string path = folder + "/" + library;
    if (::access(path.c_str(), R_OK) == 0 && ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return;
  }
}

}  // namespace

Result<std::string> pinned_copy(const Manifest &manifest) {
  const auto refuse = [&](const std::string &reason) {
    return failure(ErrorKind::kPlugin, fmt::format("{}: {}", describe(manifest), reason));
  };
  std::error_code ignored;
  const auto bytes = posix_file_system().read(std::filesystem::weakly_canonical(manifest.path, ignored).string());
  if (!bytes) return refuse(bytes.error().message);
  if (const std::string found = sha256(*bytes); found != manifest.sha256) {
    return refuse(fmt::format("was replaced after it was checked: it has SHA-256 {}, the recipe pins {}", found, manifest.sha256));
  }
  const int descriptor = ::memfd_create(manifest.name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return refuse(fmt::format("cannot be copied into memory: {}", std::strerror(errno)));
  if (const auto written = write_all(descriptor, *bytes); !written)
    return refuse("cannot be copied into memory: " + written.error().message);
  if (::fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return refuse(fmt::format("its copy cannot be sealed: {}", std::strerror(errno)));
  }
  return fmt::format("/proc/self/fd/{}", descriptor);
}

void load_needed_libraries(const Manifest &manifest) {
  const auto file = ElfFile::open(manifest.path);
  if (!file) return;
  const std::string origin = std::filesystem::path(manifest.path).parent_path().string();
  std::vector<std::string> folders;
  for (const std::string &folder : file->run_path()) {
    if (folder.find("ORIGIN") != std::string::npos) folders.push_back(with_origin(folder, origin));
  }
  for (const std::string &library : file->dynamic_texts(DT_NEEDED)) load_from(folders, library);
}

}  // namespace trainhost
