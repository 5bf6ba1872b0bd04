#include "base/program.h"

#include <filesystem>

namespace trainhost {

std::string program_path() {
  std::error_code code;  // without /proc the path is empty, and what is looked for beside it is not found
  return std::filesystem::read_symlink("/proc/self/exe", code).string();
}

std::string installation_folder() { return std::filesystem::path(program_path()).parent_path().parent_path().string(); }

}  // namespace trainhost
