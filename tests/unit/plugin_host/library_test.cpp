#include "plugin_host/library.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "plugin_host/instance.h"
#include "support/fixture_plugin.h"
#include "support/temporary_directory.h"
#include "trainhost/kinds/model.h"

namespace trainhost {
namespace {

// What is said of tests/fixtures/plugins/table.c built with a defect, after the plugin's name.
std::string complaint(const std::string &defect, ErrorKind kind) {
  const std::string path = fixture_plugin("table_" + defect);
  const auto manifest = read_manifest(path);
  if (!manifest) return manifest.error().message;
  const auto plugin = PluginInstance::create(*manifest, {}, nullptr, {});
  if (plugin) return "none";
  EXPECT_EQ(plugin.error().kind, kind);
  const std::string subject = "model plugin \"table\" 0.1.0 (" + path + "): ";
  EXPECT_TRUE(plugin.error().message.starts_with(subject)) << plugin.error().message;
  return plugin.error().message.substr(subject.size());
}

TEST(Library, WithoutADefectIsLoaded) { EXPECT_EQ(complaint("nothing", ErrorKind::kPlugin), "none"); }

TEST(Library, ThatCannotBeLoadedIsRefusedWithTheLoadersReason) {
  EXPECT_EQ(complaint("undefined_symbol", ErrorKind::kPlugin),
            "cannot be loaded: " + fixture_plugin("table_undefined_symbol") + ": undefined symbol: nowhere_to_be_found");
  EXPECT_EQ(complaint("no_entry", ErrorKind::kPlugin),
            "does not export trainhost_plugin_entry; declare it with TRAINHOST_EXPORT or TRAINHOST_PLUGIN");
}

TEST(Library, MayRefuse) {
  EXPECT_EQ(complaint("refuses", ErrorKind::kPlugin), "refuses to be used: this processor has no AVX-1024");
  EXPECT_EQ(complaint("refuses", ErrorKind::kPlugin), "refuses to be used: this processor has no AVX-1024") << "the reason is remembered";
  EXPECT_EQ(complaint("refuses_silently", ErrorKind::kPlugin), "refuses to be used: it gives no reason");
}

TEST(Library, WithABadTableIsRefused) {
  const ErrorKind contract = ErrorKind::kPluginContract;
  EXPECT_EQ(complaint("short_plugin", contract), "its th_plugin has struct_size 8, at least 16 is needed");
  EXPECT_EQ(complaint("null_get_kind", contract), "its th_plugin has null in the required slot \"get_kind\"");
  EXPECT_EQ(complaint("null_table", contract), "get_kind gives no table for \"th.kind.model/1\", though that is the kind in its manifest");
  EXPECT_EQ(complaint("null_slot", contract), "its table \"th.kind.model/1\" has null in the required slot \"backward\"");
  EXPECT_EQ(complaint("short_table", contract), "its table \"th.kind.model/1\" has struct_size 72, at least 80 is needed");
}

// A canary's file, whose manifest was read, and another one that takes its place before it is loaded. The canary signs when it is loaded.
class ReplacedFile : public testing::Test {
 protected:
  ReplacedFile() {
    ::setenv("TRAINHOST_TEST_CANARY", sign_.c_str(), 1);
    std::filesystem::copy_file(fixture_plugin("table_nothing"), path_);
    manifest_ = *read_manifest(path_);
  }
  ~ReplacedFile() override { ::unsetenv("TRAINHOST_TEST_CANARY"); }

  std::string refusal() const {
    const auto table = load_kind_table(manifest_);
    return table ? "none" : table.error().message;
  }
  std::string subject() const { return "model plugin \"table\" 0.1.0 (" + path_ + "): "; }
  bool canary_was_loaded() const { return std::filesystem::exists(sign_); }

  TemporaryDirectory folder_;
  const std::string path_ = folder_ / "plugin.so", sign_ = folder_ / "sign";
  Manifest manifest_;
};

TEST_F(ReplacedFile, IsNotLoaded) {
  std::filesystem::copy_file(fixture_plugin("canary"), folder_ / "canary.so");
  std::filesystem::rename(folder_ / "canary.so", path_);
  EXPECT_EQ(refusal(), subject() + "was replaced after it was checked; start again");
  EXPECT_FALSE(canary_was_loaded());
}

TEST_F(ReplacedFile, OfWhichNothingIsLeftIsNotLoaded) {
  std::filesystem::remove(path_);
  EXPECT_EQ(refusal(), subject() + "was replaced after it was checked; start again");
}

TEST_F(ReplacedFile, ThatIsPinnedIsNotLoaded) {
  manifest_.pinned = true;
  const std::string canary = fixture_plugin("canary");
  std::filesystem::copy_file(canary, path_, std::filesystem::copy_options::overwrite_existing);  // the same inode
  EXPECT_EQ(refusal(), subject() + "was replaced after it was checked: it has SHA-256 " + *sha256_of_file(canary) + ", the recipe pins " +
                           manifest_.sha256);
  EXPECT_FALSE(canary_was_loaded());
}

TEST_F(ReplacedFile, AfterItWasPinnedAndLoadedChangesNothing) {
  manifest_.pinned = true;
  const auto table = load_kind_table(manifest_);
  ASSERT_TRUE(table) << table.error().message;
  std::ofstream(path_) << "no longer a library";  // under a mapping of the file itself this would end the process
  EXPECT_EQ(static_cast<const th_model_api *>(*table)->unit_count(nullptr), 2u);
}

}  // namespace
}  // namespace trainhost
