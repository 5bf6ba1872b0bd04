// Every plugin under plugins/: its file, its manifest, and that it can be made with its defaults.
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <utility>

#include <gtest/gtest.h>

#include "plugin_host/adapters/dataset_mixer.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "plugin_host/adapters/model.h"
#include "plugin_host/adapters/optimizer.h"
#include "plugin_host/adapters/tokenizer.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

// "optimizers/adamw", ...: the folders below plugins/.
std::vector<std::string> shipped_plugins() {
  std::vector<std::string> folders;
  std::istringstream list(TRAINHOST_SHIPPED_PLUGINS);
  for (std::string folder; std::getline(list, folder, ',');) folders.push_back(folder);
  return folders;
}

// What binutils' nm lists as defined for other files: lines of address, type and name.
std::string exported_symbols(const std::string &path) {
  std::string text;
  FILE *nm = ::popen(("nm -D --defined-only '" + path + "'").c_str(), "r");
  std::array<char, 4096> piece{};
  while (nm != nullptr && std::fgets(piece.data(), piece.size(), nm) != nullptr) text += piece.data();
  EXPECT_EQ(::pclose(nm), 0);
  return text;
}

TokenAxis short_run() {
  Recipe recipe;
  recipe.run.tokens = 102'400;
  recipe.training.batch = Batch::constant(1024);
  recipe.packing.sequence_length = 32;
  recipe.phases.push_back({.name = "all", .until = {}, .overrides = {}, .position = {}});
  return TokenAxis(recipe);
}

th_model_options small_options() {
  return {.struct_size = sizeof(th_model_options),
          .vocabulary_size = 256,
          .device_type = TH_DEVICE_CPU,
          .device_index = 0,
          .compute_code = TH_DTYPE_FLOAT,
          .compute_bits = 32,
          .outline = 0,
          .sequence_length = 32,
          .tokens = 64};
}

// A trainable one is trained on one document first.
Result<std::unique_ptr<Tokenizer>> make_tokenizer(std::unique_ptr<PluginInstance> plugin) {
  static constexpr std::string_view kDocument = "In the beginning was the word. \xe6\x88\x91\xe4\xbb\xac\n";
  std::string state;
  TRAINHOST_TRY(const bool trainable, Tokenizer::is_trainable(*plugin));
  if (trainable) {
    bool given = false;
    const Tokenizer::NextDocument next = [&]() -> Result<std::optional<std::string_view>> {
      if (std::exchange(given, true)) return std::nullopt;
      return kDocument;
    };
    TRAINHOST_TRY(state, Tokenizer::train(*plugin, next, kDocument.size()));
  }
  return Tokenizer::create(std::move(plugin), state);
}

// What makes an instance of the plugin's kind fail; empty when nothing does.
std::string failure_to_make(std::unique_ptr<PluginInstance> plugin, const TokenAxis &axis) {
  const auto message = [](const auto &result) { return result ? std::string() : result.error().message; };
  const std::vector<MixerSource> sources{{"a", "en", "ordinary", 1000}, {"b", "zh", "high", 2000}};
  switch (plugin->manifest().kind) {
    case PluginKind::kTokenizer:
      return message(make_tokenizer(std::move(plugin)));
    case PluginKind::kDatasetMixer:
      return message(DatasetMixer::create(std::move(plugin), sources, 1));
    case PluginKind::kOptimizer:
      return message(Optimizer::create(std::move(plugin)));
    case PluginKind::kLrScheduler:
      return message(LrScheduler::create(std::move(plugin), axis.progress(0)));
    case PluginKind::kModel:
      return message(Model::create(std::move(plugin), small_options()));
  }
  return "unknown kind";
}

class ShippedPlugin : public testing::TestWithParam<std::string> {
 protected:
  std::string name() const { return std::filesystem::path(GetParam()).filename().string(); }
  std::string path() const { return TRAINHOST_BINARY_DIR "/plugins/" + name() + ".so"; }
};

TEST_P(ShippedPlugin, ExportsItsEntryAlone) {
  const std::string symbols = exported_symbols(path());
  EXPECT_TRUE(symbols.ends_with(" T trainhost_plugin_entry\n")) << symbols;
  EXPECT_EQ(std::ranges::count(symbols, '\n'), 1) << symbols;
}

TEST_P(ShippedPlugin, HasAManifestThatFitsItsFolderAndExplainsItsParameters) {
  const auto manifest = read_manifest(path());
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_TRUE(check_compatible(*manifest)) << check_compatible(*manifest).error().message;
  EXPECT_EQ(std::string(to_string(manifest->kind)) + "s/" + manifest->name, GetParam());
  for (const auto &parameter : manifest->parameters) EXPECT_FALSE(parameter.doc.empty()) << parameter.name;
}

TEST_P(ShippedPlugin, IsMadeWithItsDefaults) {
  const auto manifest = read_manifest(path());
  ASSERT_TRUE(manifest) << manifest.error().message;
  std::map<std::string, ParameterValue> required;
  for (const auto &parameter : manifest->parameters) {
    if (parameter.default_value) continue;
    if (parameter.type != ParameterType::kNumber) GTEST_SKIP() << "\"" << parameter.name << "\" is required";
    required[parameter.name] = 0.01;
  }
  const TokenAxis axis = short_run();
  EXPECT_EQ(failure_to_make(plugin_under_test(manifest->kind, name(), required, &axis), axis), "");
}

INSTANTIATE_TEST_SUITE_P(All, ShippedPlugin, testing::ValuesIn(shipped_plugins()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
});

}  // namespace
}  // namespace trainhost
