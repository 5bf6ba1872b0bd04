// Whatever is in a file, looking into it ends with an inspection: run under AddressSanitizer too.
#include <fstream>
#include <random>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file_system.h"
#include "inspect_verb.h"
#include "support/fixture_plugin.h"
#include "support/temporary_directory.h"

namespace trainhost {
namespace {

class SpoiltPlugin : public testing::Test {
 protected:
  std::string whole(const std::string &name) {
    auto bytes = posix_file_system().read(fixture_plugin(name));
    EXPECT_TRUE(bytes) << bytes.error().message;
    return *std::move(bytes);
  }

  // Inspects a file of these bytes; the outcome is none or "contract", and both reports are complete.
  std::string outcome(const std::string &bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    std::ostringstream text, json;
    const auto result = print_inspection(path_, false, text);
    EXPECT_EQ(print_inspection(path_, true, json).has_value(), result.has_value());
    const auto document = nlohmann::json::parse(json.str(), nullptr, false);
    EXPECT_TRUE(document.is_object()) << json.str();
    EXPECT_TRUE(result || result.error().kind == ErrorKind::kPluginContract) << result.error().message;
    for (const unsigned char c : text.str()) EXPECT_TRUE(c == '\n' || c >= 0x20);
    return result ? "none" : document["problems"][0]["rule"].get<std::string>();
  }

  TemporaryDirectory folder_;
  std::string path_ = folder_ / "spoilt.so";
};

TEST_F(SpoiltPlugin, CutAnywhereIsRefused) {
  const std::string bytes = whole("mirror");
  EXPECT_EQ(outcome(bytes), "none");
  for (size_t length = 0; length < bytes.size(); length += length < 4096 ? 61 : bytes.size() / 97) {
    EXPECT_EQ(outcome(bytes.substr(0, length)), "TH-LIB-01") << length;
  }
  EXPECT_EQ(outcome(bytes.substr(0, bytes.size() - 1)), "TH-LIB-01");
}

TEST_F(SpoiltPlugin, BitsFlippedAnywhereNeverEndTheProcess) {
  for (const std::string name : {"mirror", "table_nothing"}) {
    const std::string bytes = whole(name);
    std::mt19937 random(7);
    // Headers, symbols and dynamic entries come first, the section headers last; between lies mostly debug information.
    const auto position = [&] {
      const size_t part = random() % 4, from = part == 3 ? bytes.size() - std::min<size_t>(bytes.size(), 3000) : 0;
      const size_t length = part == 0 ? 1024 : part == 1 ? 16384 : bytes.size();
      return from + random() % (std::min(length, bytes.size()) - (part == 3 ? from : 0));
    };
    for (int trial = 0; trial < 300; ++trial) {
      std::string spoilt = bytes;
      for (unsigned i = 0, flips = 1 + random() % 8; i < flips; ++i) spoilt[position()] ^= static_cast<char>(1 << random() % 8);
      outcome(spoilt);
    }
  }
}

TEST_F(SpoiltPlugin, BytesOverwrittenWithExtremesNeverEndTheProcess) {
  const std::string bytes = whole("table_nothing");
  std::mt19937 random(11);
  const std::string extremes[] = {std::string(8, '\xff'), std::string(8, '\0'), std::string("\xff\xff\xff\x7f", 4),
                                  std::string("\x01\0\0\0", 4)};
  for (int trial = 0; trial < 300; ++trial) {
    std::string spoilt = bytes;
    const size_t span = trial % 2 == 0 ? 4096 : 3000, from = trial % 2 == 0 ? 0 : bytes.size() - span;
    for (unsigned i = 0, writes = 1 + random() % 3; i < writes; ++i) {
      const std::string &extreme = extremes[random() % std::size(extremes)];
      spoilt.replace(from + random() % (span - 8) / 4 * 4, extreme.size(), extreme);
    }
    outcome(spoilt);
  }
}

TEST_F(SpoiltPlugin, OtherFilesAreNoLibraries) {
  EXPECT_EQ(outcome(""), "TH-LIB-01");
  EXPECT_EQ(outcome("#!/bin/sh\n"), "TH-LIB-01");
  EXPECT_EQ(outcome(std::string("\x7f") + "ELF"), "TH-LIB-01");
  EXPECT_EQ(outcome(std::string(5000, '\xff')), "TH-LIB-01");
}

}  // namespace
}  // namespace trainhost
