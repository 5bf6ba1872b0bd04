#include "plugin_host/manifest.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/file_system.h"
#include "plugin_host/instance.h"
#include "support/fixture_plugin.h"
#include "support/temporary_directory.h"

namespace trainhost {
namespace {

constexpr const char *kHead =
    "id = \"org.example.w\"\n"
    "name = \"w\"\n"
    "kind = \"optimizer\"\n"
    "version = \"1.0.0\"\n"
    "summary = \"Does it.\"\n"
    "minimum_abi = \"1.0\"\n";
constexpr const char *kSdk = "[sdk]\nabi = \"1.0\"\n";

std::string mistake_in(const std::string &text) {
  const auto manifest = parse_manifest(text);
  return manifest ? "none" : manifest.error();
}
// Of a manifest whose seventh and following lines are `lines`.
std::string mistake_with(const std::string &lines) { return mistake_in(kHead + lines + "\n" + kSdk); }

TEST(Manifest, SaysEverythingItsAuthorWrote) {
  const auto read = read_manifest(fixture_plugin("mirror"));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->id, "org.trainhost.test.mirror");
  EXPECT_EQ(read->name, "mirror");
  EXPECT_EQ(read->kind, PluginKind::kLrScheduler);
  EXPECT_EQ(read->version, "1.2.3");
  EXPECT_EQ(read->summary, "Shows tests what a plugin is given.");
  EXPECT_EQ(read->minimum_abi_major, 1);
  EXPECT_EQ(read->minimum_abi_minor, 0);
  EXPECT_EQ(read->sdk_abi_major, TRAINHOST_ABI_MAJOR);
  EXPECT_EQ(read->sdk_abi_minor, TRAINHOST_ABI_MINOR);
  EXPECT_EQ(read->libtorch, "");
  EXPECT_EQ(read->path, fixture_plugin("mirror"));
  EXPECT_EQ(read->sha256.size(), 64u);

  ASSERT_EQ(read->parameters.size(), 7u);
  const ParameterSpec &count = read->parameters[0], &rate = read->parameters[1], &shape = read->parameters[4], &label = read->parameters[6];
  EXPECT_EQ(count.type, ParameterType::kInteger);
  EXPECT_EQ(std::get<int64_t>(*count.default_value), 3);
  EXPECT_EQ(count.minimum, 1);
  EXPECT_EQ(count.maximum, 10);
  EXPECT_FALSE(count.exclusive_minimum);
  EXPECT_EQ(count.unit, "things");
  EXPECT_EQ(count.doc, "How many.");
  EXPECT_EQ(std::get<double>(*rate.default_value), 1.0);  // written as an integer
  EXPECT_EQ(rate.minimum, 0);
  EXPECT_TRUE(rate.exclusive_minimum);
  EXPECT_EQ(shape.choices, (std::vector<std::string>{"linear", "cosine", "sqrt"}));
  EXPECT_FALSE(label.default_value.has_value());
}

TEST(Manifest, IsRefusedWithTheLineOfItsFirstMistake) {
  EXPECT_EQ(mistake_with(""), "none");
  EXPECT_EQ(mistake_with("licence = \"MIT\""), "line 7: unknown key \"licence\"");
  EXPECT_EQ(mistake_with("libtorsh = \"2.11.0\""), "line 7: unknown key \"libtorsh\"; did you mean \"libtorch\"?");
  EXPECT_EQ(mistake_with("libtorch = 2"), "line 7: \"libtorch\" must be a string");
  EXPECT_EQ(mistake_with("parameter = 3"), "line 7: \"parameter\" must be tables, [[parameter]]");
  EXPECT_EQ(mistake_in(kHead), "line 1: table [sdk] is missing; build the plugin with trainhost_add_plugin()");
  EXPECT_EQ(mistake_in(std::string("name = \"x\"\n") + kSdk), "line 1: key \"id\" is missing");
  const auto with = [](const std::string &from, const std::string &to) {
    std::string text = std::string(kHead) + kSdk;
    return mistake_in(text.replace(text.find(from), from.size(), to));
  };
  EXPECT_EQ(with("\"optimizer\"", "\"optimiser\""),
            "line 3: unknown kind \"optimiser\"; known are tokenizer, dataset_mixer, optimizer, lr_scheduler, model");
  EXPECT_EQ(with("\"w\"", "\"My Plugin\""), "line 2: \"My Plugin\" is no name: lower-case letters, digits and _");
  EXPECT_EQ(with("\"org.example.w\"", "\"w\""), "line 1: \"w\" is no id: a reversed domain such as \"org.example.w\"");
  EXPECT_EQ(with("\"1.0.0\"", "\"\""), "line 4: \"version\" must not be empty");
  EXPECT_EQ(with("minimum_abi = \"1.0\"", "minimum_abi = \"1\""), "line 6: \"minimum_abi\" must be a version such as \"1.0\", found \"1\"");
  EXPECT_EQ(with("[sdk]\nabi = \"1.0\"", "[sdk]\nabi = \"1.x\""),
            "line 8: \"abi\" of [sdk] must be a version such as \"1.0\", found \"1.x\"");
  EXPECT_TRUE(with("\"w\"", "w").starts_with("line 2: ")) << with("\"w\"", "w");
}

TEST(Manifest, IsRefusedForAParameterThatMakesNoSense) {
  const auto with = [](const std::string &lines) { return mistake_with("[[parameter]]\n" + lines); };
  const std::string rate = "name = \"rate\"\ntype = \"number\"\n";
  EXPECT_EQ(with(rate + "default = 1"), "none");
  EXPECT_EQ(with(rate + "default = 1\nmin = 0"), "line 11: unknown key \"min\" of parameter 1");
  EXPECT_EQ(with(rate + "default = 1\nminimun = 0"), "line 11: unknown key \"minimun\" of parameter 1; did you mean \"minimum\"?");
  EXPECT_EQ(with(rate), "line 8: parameter \"rate\" must have either a default or required = true");
  EXPECT_EQ(with(rate + "default = 1\nrequired = true"), "line 8: parameter \"rate\" must have either a default or required = true");
  EXPECT_EQ(with(rate + "default = \"a\""), "line 10: default of parameter \"rate\" must be a number, found \"a\"");
  EXPECT_EQ(with(rate + "default = -1\nminimum = 0"), "line 10: default of parameter \"rate\" must be at least 0, found -1");
  EXPECT_EQ(with(rate + "default = 1\nminimum = 0\nexclusive_minimum = 0"),
            "line 12: \"minimum\" and \"exclusive_minimum\" exclude each other");
  EXPECT_EQ(with(rate + "default = 1\nchoices = [\"a\"]"), "line 11: \"choices\" has no meaning for a number");
  EXPECT_EQ(with("name = \"rate\"\ntype = \"float\"\ndefault = 1"),
            "line 9: unknown type \"float\" of parameter 1; known are integer, number, boolean, string, amount");
  EXPECT_EQ(with("name = \"on\"\ntype = \"boolean\"\ndefault = true\nmaximum = 1"), "line 11: \"maximum\" has no meaning for a boolean");
  EXPECT_EQ(with("name = \"s\"\ntype = \"string\"\ndefault = \"a\"\nchoices = [1]"), "line 11: \"choices\" must be a list of strings");
  EXPECT_EQ(with("name = \"s\"\ntype = \"string\"\ndefault = \"a\"\nchoices = [\"b\"]"),
            "line 10: default of parameter \"s\" must be one of \"b\", found \"a\"");
  EXPECT_EQ(with("name = \"plugin\"\ntype = \"string\"\ndefault = \"a\""),
            "line 8: \"plugin\" is no name for a parameter: lower-case letters, digits and _, and not \"plugin\"");
  EXPECT_EQ(with(rate + "default = 1\n[[parameter]]\n" + rate + "default = 2"), "line 11: parameter \"rate\" is there twice");
  std::string tokenizer = std::string(kHead) + "[[parameter]]\nname = \"a\"\ntype = \"amount\"\ndefault = \"2%\"\n" + kSdk;
  tokenizer.replace(tokenizer.find("optimizer"), 9, "tokenizer");
  EXPECT_EQ(mistake_in(tokenizer), "line 7: parameter \"a\" is an amount, and a tokenizer is made before there is a token axis");
}

// A canary that says whether any of its code has run.
class Canary : public testing::Test {
 protected:
  Canary() { ::setenv("TRAINHOST_TEST_CANARY", sign_.c_str(), 1); }
  ~Canary() override { ::unsetenv("TRAINHOST_TEST_CANARY"); }

  // What the host says of the file at `path` when it is to be used.
  static std::string refusal(const std::string &path) {
    const auto manifest = read_manifest(path);
    if (!manifest) return manifest.error().message;
    const auto plugin = PluginInstance::create(*manifest, {}, nullptr, {});
    return plugin ? "none" : plugin.error().message;
  }
  std::string altered(const std::string &from, const std::string &to) { return altered_plugin("canary", folder_.path(), from, to); }
  bool has_sung() const { return std::filesystem::exists(sign_); }

  TemporaryDirectory folder_;
  std::string sign_ = folder_ / "sign";
};

TEST_F(Canary, SingsWhenLoaded) {
  EXPECT_EQ(refusal(fixture_plugin("canary")),
            "model plugin \"canary\" 1.0.0 (" + fixture_plugin("canary") +
                "): get_kind gives no table for \"th.kind.model/1\", though that is the kind in its manifest");
  EXPECT_TRUE(has_sung());
}

TEST_F(Canary, NeverSingsWhenItsManifestIsRefused) {
  const std::string path = folder_ / "canary.so";
  EXPECT_EQ(refusal(altered("minimum_abi = \"1.0\"", "minimum_abi = \"2.0\"")),
            path + ": plugin \"canary\" 1.0.0 is made for plugin ABI 2, this trainhost has 1.1; get a build of the plugin for ABI 1");
  EXPECT_EQ(refusal(altered("minimum_abi = \"1.0\"", "minimum_abi = \"1.9\"")),
            path +
                ": plugin \"canary\" 1.0.0 needs plugin ABI 1.9, this trainhost has 1.1; get a newer trainhost or an older version of the "
                "plugin");
  EXPECT_EQ(refusal(altered("[sdk]\nabi = \"1.1\"", "[sdk]\nabi = \"3.0\"")),
            path + ": plugin \"canary\" 1.0.0 is made for plugin ABI 3, this trainhost has 1.1; get a build of the plugin for ABI 1");
  EXPECT_EQ(
      refusal(altered("libtorch = \"2.11.0\"", "libtorch = \"2.10.0\"")),
      path +
          ": plugin \"canary\" 1.0.0 is pinned to LibTorch 2.10.0, this trainhost has 2.11.0; get a build of the plugin for that version");
  EXPECT_EQ(refusal(altered("kind = \"model\"", "kind = \"muddy\"")),
            path +
                ": its manifest is malformed: line 3: unknown kind \"muddy\"; known are tokenizer, dataset_mixer, optimizer, lr_scheduler, "
                "model");
  EXPECT_EQ(refusal(altered("version = \"1.0.0\"", "version = \"1.0.0 ")),
            path +
                ": its manifest is malformed: line 4: Error while parsing string: unescaped control characters other than TAB "
                "(U+0009) are explicitly prohibited");
  EXPECT_EQ(refusal(altered(".trainhost.manifest", ".trainhost.manifesT")),
            path + ": is no trainhost plugin: it has no section .trainhost.manifest; build it with trainhost_add_plugin()");
  EXPECT_FALSE(has_sung());
}

TEST_F(Canary, NeverSingsWhenItsFileIsCutShort) {
  const std::string whole = *posix_file_system().read(fixture_plugin("canary")), path = folder_ / "cut.so";
  for (const size_t bytes : {whole.size() - 1, whole.size() / 2, size_t{4096}, size_t{1000}, size_t{64}}) {
    ASSERT_TRUE(write_atomically(posix_file_system(), path, whole.substr(0, bytes)));
    EXPECT_EQ(refusal(path),
              path + ": is cut short: it has " + std::to_string(bytes) + " bytes, fewer than its ELF header speaks of; copy it again");
  }
  for (const size_t bytes : {size_t{63}, size_t{20}}) {
    ASSERT_TRUE(write_atomically(posix_file_system(), path, whole.substr(0, bytes)));
    EXPECT_EQ(refusal(path), path + ": is not an ELF shared library") << bytes;
  }
  EXPECT_FALSE(has_sung());
}

TEST(File, ThatIsNoPluginIsRefused) {
  const TemporaryDirectory folder;
  const auto message = [](const std::string &path) { return read_manifest(path).error().message; };
  const std::string text = folder / "text.so", empty = folder / "empty.so";
  std::ofstream(text) << "These are notes, not a library.\n";
  std::ofstream(empty).flush();
  EXPECT_EQ(message(text), text + ": is not an ELF shared library");
  EXPECT_EQ(message(empty), empty + ": is not an ELF shared library");
  EXPECT_EQ(message(folder / "absent.so"), folder / "absent.so" + std::string(": cannot be opened: No such file or directory"));
  EXPECT_EQ(message(folder.path()), folder.path() + ": is not a file");
  EXPECT_EQ(message(fixture_plugin("no_plugin")),
            fixture_plugin("no_plugin") +
                ": is no trainhost plugin: it has no section .trainhost.manifest; build it with trainhost_add_plugin()");
  EXPECT_EQ(read_manifest(text).error().kind, ErrorKind::kPlugin);
}

}  // namespace
}  // namespace trainhost
