#include "plugin_host/library.h"

#include <gtest/gtest.h>

#include "plugin_host/instance.h"
#include "support/fixture_plugin.h"

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
  EXPECT_EQ(complaint("other_draft", contract), "its table \"th.kind.model/1\" is of draft 3, this trainhost has draft 2");
}

}  // namespace
}  // namespace trainhost
