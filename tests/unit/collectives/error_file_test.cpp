#include "collectives/error_file.h"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/temporary_directory.h"

namespace trainhost {
namespace {

// The keys that torch/distributed/elastic/multiprocessing/errors (PyTorch 2.11.0) reads.
TEST(ErrorFile, HoldsWhatTorchrunReads) {
  const TemporaryDirectory directory;
  setenv("TORCHELASTIC_ERROR_FILE", (directory / "error.json").c_str(), 1);
  write_error_file({ErrorKind::kData, "the file \"a\xff\" is damaged"});
  unsetenv("TORCHELASTIC_ERROR_FILE");
  std::ifstream file(directory / "error.json");
  const auto document = nlohmann::json::parse(file);
  EXPECT_EQ(document["message"]["message"], "the file \"a\xEF\xBF\xBD\" is damaged");
  const std::string timestamp = document["message"]["extraInfo"]["timestamp"];
  EXPECT_NEAR(std::stod(timestamp), static_cast<double>(std::time(nullptr)), 60);
}

TEST(ErrorFile, IsNotWantedByEverybody) {
  unsetenv("TORCHELASTIC_ERROR_FILE");
  write_error_file({ErrorKind::kData, "no"});
  setenv("TORCHELASTIC_ERROR_FILE", "/nonexistent/error.json", 1);
  testing::internal::CaptureStderr();
  write_error_file({ErrorKind::kData, "no"});
  unsetenv("TORCHELASTIC_ERROR_FILE");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "warning: TORCHELASTIC_ERROR_FILE: /nonexistent/error.json cannot be written\n");
}

}  // namespace
}  // namespace trainhost
