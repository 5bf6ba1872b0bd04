#include "collectives/error_file.h"

#include <cstdlib>
#include <ctime>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"

namespace trainhost {

void write_error_file(const Error &error) {
  const char *const path = std::getenv("TORCHELASTIC_ERROR_FILE");
  if (path == nullptr || *path == '\0') return;
  const nlohmann::ordered_json document{
      {"message", {{"message", error.message}, {"extraInfo", {{"timestamp", std::to_string(std::time(nullptr))}}}}}};
  std::ofstream file(path);
  file << document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::flush;
  if (!file) log_warning(fmt::format("TORCHELASTIC_ERROR_FILE: {} cannot be written", path));
}

}  // namespace trainhost
