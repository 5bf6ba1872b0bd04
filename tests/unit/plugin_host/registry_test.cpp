#include "plugin_host/registry.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/hash.h"
#include "support/fixture_plugin.h"
#include "support/temporary_directory.h"

namespace trainhost {
namespace {

class Registry : public testing::Test {
 protected:
  // A folder with copies of fixture plugins.
  std::string folder_with(const std::string &name, const std::vector<std::string> &plugins) {
    const std::string folder = root_ / name;
    std::filesystem::create_directory(folder);
    for (const auto &plugin : plugins) std::filesystem::copy_file(fixture_plugin(plugin), folder + "/" + plugin + ".so");
    return folder;
  }
  static std::string refusal(const PluginRegistry &registry, PluginKind kind, const std::string &plugin) {
    const auto found = registry.find(kind, plugin);
    if (found) return "none";
    EXPECT_EQ(found.error().kind, ErrorKind::kRecipe);
    return found.error().message;
  }

  TemporaryDirectory root_;
};

TEST_F(Registry, FindsByNameIdAndPath) {
  const std::string folder = folder_with("a", {"mirror", "misbehaving_optimizer"});
  const PluginRegistry registry({folder, root_ / "absent"});
  EXPECT_EQ(registry.plugins().size(), 2u);
  EXPECT_TRUE(registry.rejected().empty());
  EXPECT_EQ(registry.find(PluginKind::kLrScheduler, "mirror")->path, folder + "/mirror.so");
  EXPECT_EQ(registry.find(PluginKind::kLrScheduler, "org.trainhost.test.mirror")->path, folder + "/mirror.so");
  EXPECT_EQ(registry.find(PluginKind::kModel, fixture_plugin("canary"))->name, "canary");
}

TEST_F(Registry, TakesTheFirstOfAName) {
  const std::string first = folder_with("first", {"mirror"}), second = folder_with("second", {"mirror"});
  const PluginRegistry registry({second, first});
  EXPECT_EQ(registry.find(PluginKind::kLrScheduler, "mirror")->path, second + "/mirror.so");
  ASSERT_EQ(registry.rejected().size(), 1u);
  EXPECT_EQ(registry.rejected()[0].path, first + "/mirror.so");
  EXPECT_EQ(registry.rejected()[0].reason,
            first + "/mirror.so: hidden by " + second + "/mirror.so, which has the same name and comes first");
}

TEST_F(Registry, SaysWhatIsMissingAndWhereItLooked) {
  const std::string a = folder_with("a", {"mirror"}), b = root_ / "b";
  const PluginRegistry registry({a, b});
  EXPECT_EQ(refusal(registry, PluginKind::kLrScheduler, "miror"),
            "no lr_scheduler plugin is called \"miror\"; did you mean \"mirror\"? (looked in " + a + ", " + b + ")");
  EXPECT_EQ(refusal(registry, PluginKind::kLrScheduler, "wsd"),
            "no lr_scheduler plugin is called \"wsd\"; there are mirror (looked in " + a + ", " + b + ")");
  EXPECT_EQ(refusal(registry, PluginKind::kTokenizer, "byte"),
            "no tokenizer plugin is called \"byte\"; there is no plugin of that kind (looked in " + a + ", " + b + ")");
  EXPECT_EQ(refusal(registry, PluginKind::kModel, "/nowhere/gpt.so"), "/nowhere/gpt.so: cannot be opened: No such file or directory");
}

TEST_F(Registry, SaysWhenAPluginIsOfAnotherKind) {
  const std::string folder = folder_with("a", {"mirror"});
  const PluginRegistry registry({folder});
  const std::string expected = "\"mirror\" (" + folder + "/mirror.so) is an lr_scheduler plugin, a model is needed here";
  EXPECT_EQ(refusal(registry, PluginKind::kModel, "mirror"), expected);
  EXPECT_EQ(refusal(registry, PluginKind::kModel, folder + "/mirror.so"), expected);
}

TEST_F(Registry, KeepsTheReasonOfEveryRejectedFile) {
  const std::string folder = folder_with("a", {"no_plugin"});
  std::ofstream(folder + "/libnotes.so") << "not a library\n";
  std::ofstream(folder + "/readme.txt") << "not looked at\n";
  const PluginRegistry registry({folder});
  ASSERT_EQ(registry.rejected().size(), 2u);
  EXPECT_EQ(registry.rejected()[0].reason, folder + "/libnotes.so: is not an ELF shared library");
  EXPECT_EQ(refusal(registry, PluginKind::kModel, "notes"),
            "the model plugin \"notes\" cannot be used: " + folder + "/libnotes.so: is not an ELF shared library");
}

TEST_F(Registry, TrustsNothingThatEverybodyMayWrite) {
  using std::filesystem::perms;
  const std::string open_folder = folder_with("open", {"mirror"}), folder = folder_with("closed", {"canary", "mirror"});
  std::filesystem::permissions(open_folder, perms::others_write, std::filesystem::perm_options::add);
  std::filesystem::permissions(folder + "/canary.so", perms::others_write, std::filesystem::perm_options::add);
  const auto reason = [](const std::string &path) {
    return path + ": everybody may write to it, so it is not trusted; chmod o-w \"" + path + "\"";
  };
  const PluginRegistry registry({open_folder, folder});
  ASSERT_EQ(registry.rejected().size(), 2u);
  EXPECT_EQ(registry.rejected()[0].reason, reason(open_folder));
  EXPECT_EQ(registry.rejected()[1].reason, reason(folder + "/canary.so"));
  EXPECT_EQ(registry.find(PluginKind::kLrScheduler, "mirror")->path, folder + "/mirror.so");
  EXPECT_EQ(refusal(registry, PluginKind::kModel, folder + "/canary.so"), reason(folder + "/canary.so"));
  EXPECT_EQ(refusal(registry, PluginKind::kLrScheduler, open_folder + "/mirror.so"), reason(open_folder));
}

TEST_F(Registry, TrustsALinkAsFarAsWhatItLeadsTo) {
  using std::filesystem::perms;
  const std::string open_folder = folder_with("open", {"mirror"}), folder = folder_with("closed", {"canary"});
  std::filesystem::create_symlink(open_folder + "/mirror.so", folder + "/mirror.so");
  EXPECT_EQ(PluginRegistry({folder}).find(PluginKind::kLrScheduler, "mirror")->path, folder + "/mirror.so");
  std::filesystem::permissions(open_folder, perms::others_write, std::filesystem::perm_options::add);
  EXPECT_EQ(refusal(PluginRegistry({folder}), PluginKind::kLrScheduler, folder + "/mirror.so"),
            open_folder + ": everybody may write to it, so it is not trusted; chmod o-w \"" + open_folder + "\"");
  std::filesystem::create_symlink("nowhere.so", folder + "/dangling.so");
  EXPECT_EQ(PluginRegistry({folder}).rejected()[0].reason, folder + "/dangling.so: cannot be opened: No such file or directory");
}

TEST(SearchPath, IsTheRecipesThenThePathVariablesThenThePrograms) {
  ::setenv("TRAINHOST_PLUGIN_PATH", "/opt/plugins::/srv/../srv/plugins:", 1);
  const auto folders = PluginRegistry::search_path();
  ::unsetenv("TRAINHOST_PLUGIN_PATH");
  EXPECT_EQ(folders, (std::vector<std::string>{"/opt/plugins", "/srv/plugins", TRAINHOST_BINARY_DIR "/plugins"}));
  EXPECT_EQ(PluginRegistry::search_path({"/mine"}), (std::vector<std::string>{"/mine", TRAINHOST_BINARY_DIR "/plugins"}));
}

// A recipe that names the fixture plugins; positions are its lines.
Recipe recipe_of_fixtures() {
  const auto choice = [](const std::string &plugin, int line) { return PluginChoice{plugin, {"r.toml", line, 1}, {}}; };
  Recipe recipe;
  recipe.tokenizer = choice("misbehaving_tokenizer", 10);
  recipe.model = choice("misbehaving_model", 20);
  recipe.optimizer = choice("misbehaving_optimizer", 30);
  recipe.schedule = choice("mirror", 40);
  recipe.schedule.parameters["label"] = {"a", true, {"r.toml", 42, 1}};
  recipe.mixer = choice("misbehaving_dataset_mixer", 50);
  recipe.phases.resize(1);
  recipe.phases[0].position = {"r.toml", 60, 1};
  recipe.branches.resize(1);
  recipe.branches[0].position = {"r.toml", 70, 1};
  return recipe;
}

TEST(ResolvePlugins, FillsInDefaults) {
  Recipe recipe = recipe_of_fixtures();
  recipe.phases[0].overrides.schedule["rate"] = {int64_t{2}, true, {}};
  const auto plugins = resolve_plugins(PluginRegistry({TRAINHOST_BINARY_DIR "/tests/plugins"}), recipe);
  ASSERT_TRUE(plugins) << to_string(plugins.error().front());
  EXPECT_EQ(plugins->schedule.name, "mirror");
  EXPECT_EQ(plugins->mixer.kind, PluginKind::kDatasetMixer);
  EXPECT_EQ(recipe.schedule.parameters.size(), 7u);
  EXPECT_EQ(recipe.phases[0].overrides.schedule.size(), 1u);
}

TEST(ResolvePlugins, HoldsFilesAgainstTheRecipesPins) {
  const std::string folder = TRAINHOST_BINARY_DIR "/tests/plugins", id = "org.trainhost.test.mirror";
  const std::string digest = *sha256_of_file(folder + "/mirror.so"), other(64, 'a');
  const auto resolved = [&](const std::string &pinned, const std::string &sha256) {
    Recipe recipe = recipe_of_fixtures();
    recipe.plugins.pins[pinned] = sha256;
    recipe.given["plugins.pin." + pinned] = {"r.toml", 5, 7};
    return resolve_plugins(PluginRegistry({folder}), recipe);
  };
  const auto sound = resolved(id, digest);
  ASSERT_TRUE(sound);
  EXPECT_TRUE(sound->schedule.pinned);
  EXPECT_FALSE(sound->model.pinned);
  EXPECT_EQ(to_string(resolved(id, other).error().at(0)), "r.toml:5:7: `plugins.pin`: the lr_scheduler plugin \"mirror\" 1.2.3 (" + folder +
                                                              "/mirror.so) has SHA-256 " + digest + ", and the recipe pins " + other +
                                                              "; put the pinned file there, or pin this one");
  EXPECT_EQ(to_string(resolved("org.trainhost.test.miror", digest).error().at(0)),
            "r.toml:5:7: `plugins.pin`: this recipe uses no plugin with the id \"org.trainhost.test.miror\"; did you mean \"" + id + "\"?");
}

TEST(ResolvePlugins, FindsAllMistakesInTheOrderOfTheFile) {
  Recipe recipe = recipe_of_fixtures();
  recipe.tokenizer.plugin = "misbehaving_tokeniser";
  recipe.optimizer.parameters["beta"] = {0.5, true, {"r.toml", 31, 1}};
  recipe.schedule.parameters = {{"count", {int64_t{99}, true, {"r.toml", 41, 1}}}};
  recipe.mixer.plugin = "mirror";
  recipe.phases[0].overrides.optimizer["howl"] = {"x", true, {"r.toml", 61, 1}};
  recipe.phases[0].overrides.schedule["shape"] = {"round", true, {"r.toml", 62, 1}};
  recipe.branches[0].overrides.schedule["rate"] = {0.0, true, {"r.toml", 71, 1}};
  const std::string folder = TRAINHOST_BINARY_DIR "/tests/plugins";
  const auto plugins = resolve_plugins(PluginRegistry({folder}), recipe);
  ASSERT_FALSE(plugins);
  std::vector<std::string> messages;
  for (const auto &error : plugins.error()) messages.push_back(to_string(error));
  EXPECT_EQ(
      messages,
      (std::vector<std::string>{
          "r.toml:10:1: no tokenizer plugin is called \"misbehaving_tokeniser\"; did you mean \"misbehaving_tokenizer\"? (looked in " +
              folder + ")",
          "r.toml:31:1: unknown parameter `beta` of optimizer plugin \"misbehaving_optimizer\"; it has in, how, after",
          "r.toml:40:1: parameter `label` (string: What it is called.) of lr_scheduler plugin \"mirror\" is required and not given",
          "r.toml:41:1: parameter `count` of lr_scheduler plugin \"mirror\" must be at least 1 and at most 10, found 99",
          "r.toml:50:1: \"mirror\" (" + folder + "/mirror.so) is an lr_scheduler plugin, a dataset_mixer is needed here",
          "r.toml:61:1: unknown parameter `howl` of optimizer plugin \"misbehaving_optimizer\"; did you mean `how`?",
          "r.toml:62:1: parameter `shape` of lr_scheduler plugin \"mirror\" must be one of \"linear\", \"cosine\", \"sqrt\", found "
          "\"round\"",
          "r.toml:71:1: parameter `rate` of lr_scheduler plugin \"mirror\" must be above 0, found 0",
      }));
}

}  // namespace
}  // namespace trainhost
