// Safetensors files as the format's own Python package reads them.
#pragma once

#include <cstdio>
#include <string>

#include <gtest/gtest.h>

namespace trainhost {

// What read_safetensors.py prints.
inline std::string ask_python(const std::string &action, const std::string &path) {
  const std::string command = "python3 " TRAINHOST_SOURCE_DIR "/tests/unit/checkpoint/read_safetensors.py " + action + " " + path + " 2>&1";
  std::string output;
  FILE *pipe = ::popen(command.c_str(), "r");
  char piece[4096];
  while (const size_t size = std::fread(piece, 1, sizeof piece, pipe)) output.append(piece, size);
  EXPECT_EQ(::pclose(pipe), 0) << output;
  return output;
}

}  // namespace trainhost
