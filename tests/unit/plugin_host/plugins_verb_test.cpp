#include "app/plugins_verb.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "support/fixture_plugin.h"
#include "support/temporary_directory.h"

namespace trainhost {
namespace {

class PluginsVerb : public testing::Test {
 protected:
  PluginsVerb() {
    for (const std::string name : {"mirror", "canary"}) std::filesystem::copy_file(fixture_plugin(name), folder_ / (name + ".so"));
    std::ofstream(folder_ / "notes.so") << "not a library\n";
  }
  std::string printed(const std::string &name, bool json) {
    std::ostringstream out;
    const auto result = print_plugins(PluginRegistry({folder_.path()}), name, json, out);
    EXPECT_TRUE(result) << result.error().message;
    return out.str();
  }

  TemporaryDirectory folder_;
};

TEST_F(PluginsVerb, ListsPluginsAndRefusedFiles) {
  EXPECT_EQ(printed("", false),
            "KIND          NAME    VERSION  ID                         FILE\n"
            "lr_scheduler  mirror  1.2.3    org.trainhost.test.mirror  " +
                folder_ / "mirror.so" +
                "\n"
                "model         canary  1.0.0    org.trainhost.test.canary  " +
                folder_ / "canary.so" +
                "\n"
                "\n"
                "Refused:\n"
                "  " +
                folder_ / "notes.so" + ": is not an ELF shared library\n");
}

TEST_F(PluginsVerb, ShowsTheParametersOfOne) {
  EXPECT_EQ(printed("mirror", false),
            "mirror 1.2.3: Shows tests what a plugin is given.\n"
            "  kind     lr_scheduler\n"
            "  id       org.trainhost.test.mirror\n"
            "  file     " +
                folder_ / "mirror.so" +
                "\n"
                "  SHA-256  " +
                *sha256_of_file(fixture_plugin("mirror")) +
                "\n"
                "  ABI      needs 1.0, built with 1.1\n"
                "\n"
                "PARAMETER  TYPE     DEFAULT   RANGE               UNIT    MEANING\n"
                "count      integer  3         1 to 10             things  How many.\n"
                "rate       number   1         above 0                     How fast.\n"
                "fraction   number   0.5       above 0, at most 1          How much of it: of a meaning so long that one line of a\n"
                "                                                          terminal could not hold it beside what stands before it.\n"
                "enabled    boolean  true\n"
                "shape      string   \"linear\"                              one of linear, cosine, sqrt\n"
                "length     amount   \"10%\"     at least 0\n"
                "label      string   required                              What it is called.\n");
  EXPECT_EQ(printed("org.trainhost.test.mirror", false), printed("mirror", false));
  EXPECT_EQ(printed(folder_ / "mirror.so", false), printed("mirror", false));
  EXPECT_TRUE(printed("canary", false).ends_with("  LibTorch  2.11.0\n\nIt takes no parameters.\n")) << printed("canary", false);
}

TEST_F(PluginsVerb, PrintsJson) {
  const auto all = nlohmann::json::parse(printed("", true));
  EXPECT_EQ(all["folders"], nlohmann::json({folder_.path()}));
  ASSERT_EQ(all["plugins"].size(), 2u);
  EXPECT_EQ(all["rejected"][0]["path"], folder_ / "notes.so");
  const auto mirror = nlohmann::json::parse(printed("mirror", true))["plugins"][0];
  EXPECT_EQ(mirror, all["plugins"][0]);
  EXPECT_EQ(mirror["kind"], "lr_scheduler");
  EXPECT_EQ(mirror["minimum_abi"], "1.0");
  EXPECT_EQ(mirror["parameters"][0], nlohmann::json::parse(R"({"name": "count", "type": "integer", "required": false, "default": 3,
      "minimum": 1.0, "maximum": 10.0, "unit": "things", "doc": "How many."})"));
  EXPECT_EQ(mirror["parameters"][6]["required"], true);
  EXPECT_FALSE(mirror["parameters"][6].contains("default"));
}

TEST_F(PluginsVerb, RefusesAnUnknownName) {
  std::ostringstream out;
  const auto result = print_plugins(PluginRegistry({folder_.path()}), "mirrow", false, out);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::kUsage);
  EXPECT_EQ(result.error().message, "no plugin is called \"mirrow\"; did you mean \"mirror\"? (looked in " + folder_.path() + ")");
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace trainhost
