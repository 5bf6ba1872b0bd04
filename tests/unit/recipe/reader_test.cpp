#include "recipe/reader.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "recipe/token_axis.h"

namespace trainhost {
namespace {

// A folder of recipe files that goes with the test.
class Reader : public testing::Test {
 protected:
  Reader() {
    std::string name = (std::filesystem::temp_directory_path() / "trainhost_recipe_XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~Reader() override { std::filesystem::remove_all(folder_); }

  void write(const std::string &file, const std::string &text) {
    std::filesystem::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  std::string path(const std::string &file) const { return (folder_ / file).string(); }

  Recipe read(const std::string &file, const std::vector<std::string> &settings = {}) {
    auto recipe = read_recipe(path(file), settings);
    if (recipe) return *recipe;
    for (const RecipeError &error : recipe.error()) ADD_FAILURE() << to_string(error);
    return {};
  }
  Recipe read_text(const std::string &text, const std::vector<std::string> &settings = {}) {
    write("small.toml", text);
    return read("small.toml", settings);
  }

  std::filesystem::path folder_;
};

const std::string kSource = "[[source]]\nname = \"english\"\npaths = [\"data/*.md\"]\n";

// Every key, each with another value than its default.
const std::string kWhole = R"(
[run]
directory = "out"
tokens = "1.5M tokens"
seed = 7
reduction = "fixed"
deterministic = true
device = "cpu"
precision = "fp32"
[plugins]
path = ["plugins", "/opt/plugins"]
pin = { "org.example.lion" = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" }
[[source]]
name = "english"
paths = ["data/en/*.md", "/corpora/en"]
format = "markdown"
language = "en"
quality = "high"
licence = "CC0"
held_out = "2%"
on_bad_input = "refuse"
epochs_at_most = 2.5
domain = "out"
[[source]]
name = "问答 \"quoted\""
paths = ["data/faq/*.jsonl"]
format = "chat"
loss_on = "answers"
held_out = 0
[tokenizer]
plugin = "byte"
[packing]
mode = "concatenate"
sequence_length = 512
document_mask = false
[model]
plugin = "./plugins/libmine.so"
layers = 2
scale = 1.0
tied = true
"odd key" = "line\nfeed"
[optimizer]
plugin = "org.example.lion"
[schedule]
peak_lr = 1e-2
warmup = "2%"
[mixer]
plugin = "weighted"
[[phase]]
name = "stable"
until = "90%"
mix = { english = 3 }
batch = "4Ki tokens"
sequence_length = 1024
[[phase]]
name = "annealing"
mix = { english = 1, "问答 \"quoted\"" = 2 }
optimizer.beta2 = 0.99
schedule.shape = "linear"
[training]
batch = 16384
micro_batch = 2048
gradient_clip = 0.5
on_spike = "continue"
on_nan = "stop"
recompute = 3
memory = "20GiB"
[parallel]
sharding = "parameters"
pipeline_stages = 2
heartbeat = 0.5
timeout = 60
[checkpoint]
every = "100 steps"
keep = 5
asynchronous = true
always_keep = ["end of stable"]
[evaluation]
every = "64Ki tokens"
sources = ["english"]
tokens = "1k tokens"
[sampling]
every = "25%"
prompts = ["The meaning of", "我们"]
tokens = 32
temperature = 1
top_p = 0.5
[metrics]
console = false
jsonl = false
tensorboard = false
telemetry = false
telemetry_every = "20 steps"
[[branch]]
name = "linear"
from = "end of stable"
batch = 8192
mix = { english = 1 }
schedule.shape = "exponential"
)";

TEST_F(Reader, ReadsEveryKey) {
  write("whole.toml", kWhole);
  const Recipe recipe = read("whole.toml");
  EXPECT_EQ(recipe.file, path("whole.toml"));
  EXPECT_EQ(recipe.run.directory, path("out"));
  EXPECT_EQ(recipe.run.tokens, 1'500'000u);
  EXPECT_EQ(recipe.run.seed, 7u);
  EXPECT_EQ(recipe.run.device, "cpu");
  EXPECT_EQ(recipe.run.precision, "fp32");
  EXPECT_EQ(recipe.plugins.folders, (std::vector<std::string>{path("plugins"), "/opt/plugins"}));
  EXPECT_EQ(recipe.plugins.pins,
            (std::map<std::string, std::string>{{"org.example.lion", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}));
  ASSERT_EQ(recipe.sources.size(), 2u);
  EXPECT_EQ(recipe.sources[0].name, "english");
  EXPECT_EQ(recipe.sources[0].paths, (std::vector<std::string>{path("data/en/*.md"), "/corpora/en"}));
  EXPECT_EQ(recipe.sources[0].format, "markdown");
  EXPECT_EQ(recipe.sources[0].language, "en");
  EXPECT_EQ(recipe.sources[0].quality, "high");
  EXPECT_EQ(recipe.sources[0].licence, "CC0");
  EXPECT_EQ(recipe.sources[0].held_out, 0.02);
  EXPECT_EQ(recipe.sources[0].on_bad_input, "refuse");
  EXPECT_EQ(recipe.sources[0].epochs_at_most, 2.5);
  EXPECT_EQ(recipe.sources[0].domain, "out");
  EXPECT_EQ(recipe.sources[0].position.line, 13);
  EXPECT_EQ(recipe.sources[1].loss_on, "answers");
  EXPECT_EQ(recipe.tokenizer.plugin, "byte");
  EXPECT_EQ(recipe.packing.mode, "concatenate");
  EXPECT_EQ(recipe.packing.sequence_length, 512u);
  EXPECT_FALSE(recipe.packing.document_mask);
  EXPECT_EQ(recipe.model.plugin, path("plugins/libmine.so"));
  EXPECT_EQ(std::get<int64_t>(recipe.model.parameters.at("layers").value), 2);
  EXPECT_EQ(std::get<double>(recipe.model.parameters.at("scale").value), 1.0);
  EXPECT_EQ(std::get<bool>(recipe.model.parameters.at("tied").value), true);
  EXPECT_EQ(std::get<std::string>(recipe.model.parameters.at("odd key").value), "line\nfeed");
  EXPECT_EQ(recipe.model.parameters.at("layers").position.line, 38);
  EXPECT_EQ(recipe.optimizer.plugin, "org.example.lion");
  EXPECT_EQ(recipe.schedule.plugin, "wsd");
  EXPECT_EQ(std::get<std::string>(recipe.schedule.parameters.at("warmup").value), "2%");
  ASSERT_EQ(recipe.phases.size(), 2u);
  EXPECT_EQ(recipe.phases[0].name, "stable");
  EXPECT_EQ(recipe.phases[0].until->value, 0.9);
  EXPECT_EQ(recipe.phases[0].overrides.mix, (std::map<std::string, double>{{"english", 1.0}}));
  EXPECT_EQ(recipe.phases[0].overrides.batch->tokens, 4096u);
  EXPECT_EQ(recipe.phases[0].overrides.sequence_length, 1024u);
  EXPECT_FALSE(recipe.phases[1].until);
  EXPECT_EQ(recipe.phases[1].overrides.mix->at("english"), 1.0 / 3);
  EXPECT_FALSE(recipe.phases[1].overrides.batch);
  EXPECT_EQ(std::get<double>(recipe.phases[1].overrides.optimizer.at("beta2").value), 0.99);
  EXPECT_EQ(std::get<std::string>(recipe.phases[1].overrides.schedule.at("shape").value), "linear");
  EXPECT_EQ(recipe.training.batch.tokens, 16384u);
  EXPECT_EQ(recipe.training.micro_batch_tokens, 2048u);
  EXPECT_EQ(recipe.training.gradient_clip, 0.5);
  EXPECT_EQ(recipe.training.on_spike, "continue");
  EXPECT_EQ(recipe.training.on_nan, "stop");
  EXPECT_EQ(recipe.training.recompute, 3u);
  EXPECT_EQ(recipe.training.memory_bytes, uint64_t{20} << 30);
  EXPECT_EQ(recipe.run.reduction, "fixed");
  EXPECT_EQ(recipe.parallel.sharding, "parameters");
  EXPECT_EQ(recipe.parallel.pipeline_stages, 2u);
  EXPECT_EQ(recipe.parallel.heartbeat, 0.5);
  EXPECT_EQ(recipe.parallel.timeout, 60);
  EXPECT_TRUE(recipe.checkpoint.asynchronous);
  EXPECT_EQ(recipe.checkpoint.every.unit, Amount::Unit::kSteps);
  EXPECT_EQ(recipe.checkpoint.every.value, 100);
  EXPECT_EQ(recipe.checkpoint.keep, 5u);
  EXPECT_EQ(recipe.checkpoint.always_keep, std::vector<std::string>{"end of stable"});
  EXPECT_EQ(recipe.evaluation.every.value, 65536);
  EXPECT_EQ(recipe.evaluation.sources, std::vector<std::string>{"english"});
  EXPECT_EQ(recipe.evaluation.tokens, 1000u);
  EXPECT_EQ(recipe.sampling.every->value, 0.25);
  EXPECT_EQ(recipe.sampling.prompts, (std::vector<std::string>{"The meaning of", "我们"}));
  EXPECT_EQ(recipe.sampling.tokens, 32u);
  EXPECT_EQ(recipe.sampling.temperature, 1.0);
  EXPECT_EQ(recipe.sampling.top_p, 0.5);
  EXPECT_FALSE(recipe.metrics.console || recipe.metrics.jsonl || recipe.metrics.tensorboard || recipe.metrics.telemetry);
  EXPECT_EQ(recipe.metrics.telemetry_every.value, 20);
  ASSERT_EQ(recipe.branches.size(), 1u);
  EXPECT_EQ(recipe.branches[0].from, "end of stable");
  EXPECT_EQ(recipe.branches[0].overrides.batch->tokens, 8192u);
}

TEST_F(Reader, HasADefaultForAllButTheSources) {
  const Recipe recipe = read_text(kSource + "[[source]]\nname = \"code\"\npaths = [\"b\"]\n");
  EXPECT_EQ(recipe.run.directory, path("runs/small"));
  EXPECT_EQ(recipe.tokenizer.plugin, "byte_bpe");
  EXPECT_EQ(recipe.model.plugin, "minicpm");
  EXPECT_EQ(recipe.optimizer.plugin, "adamw");
  EXPECT_EQ(recipe.schedule.plugin, "wsd");
  EXPECT_EQ(recipe.mixer.plugin, "weighted");
  EXPECT_EQ(recipe.mixer.position.line, 1);
  EXPECT_FALSE(recipe.sampling.every);
  ASSERT_EQ(recipe.phases.size(), 1u);
  EXPECT_EQ(recipe.phases[0].name, "train");
  EXPECT_EQ(recipe.phases[0].overrides.mix, (std::map<std::string, double>{{"code", 0.5}, {"english", 0.5}}));
  EXPECT_FALSE(recipe.given.contains("run.seed"));
  EXPECT_EQ(recipe.given.at("source.1.paths").line, 6);
}

TEST_F(Reader, LetsAPhaseInheritTheMixBeforeIt) {
  const Recipe recipe = read_text(kSource +
                                  "[[source]]\nname = \"code\"\npaths = [\"b\"]\n"
                                  "[[phase]]\nname = \"a\"\nuntil = \"30%\"\nmix = { english = 1, code = 3 }\n"
                                  "[[phase]]\nname = \"b\"\nuntil = \"60%\"\n[[phase]]\nname = \"c\"\nmix = { code = 9 }\n");
  EXPECT_EQ(recipe.phases[1].overrides.mix, (std::map<std::string, double>{{"code", 0.75}, {"english", 0.25}}));
  EXPECT_EQ(recipe.phases[2].overrides.mix, (std::map<std::string, double>{{"code", 1.0}}));
}

TEST_F(Reader, MergesIncludedFiles) {
  write("bases/model.toml",
        "[run]\nseed = 1\ntokens = 1000000\n[model]\nlayers = 2\nwidth = 64\n[[source]]\nname = \"base\"\npaths = [\"here/*.md\"]\n");
  write("bases/more.toml", "[run]\nseed = 2\n[model]\nwidth = 96\nplugin = \"./m.so\"\n");
  const Recipe recipe = read_text("include = [\"bases/model.toml\", \"bases/more.toml\"]\n[model]\nwidth = 128\n");
  EXPECT_EQ(recipe.run.seed, 2u);            // the later of the included
  EXPECT_EQ(recipe.run.tokens, 1'000'000u);  // kept
  EXPECT_EQ(std::get<int64_t>(recipe.model.parameters.at("layers").value), 2);
  EXPECT_EQ(std::get<int64_t>(recipe.model.parameters.at("width").value), 128);  // the including file over all
  EXPECT_EQ(recipe.sources.at(0).paths, std::vector<std::string>{path("bases/here/*.md")});
  EXPECT_EQ(recipe.model.plugin, path("bases/m.so"));
  EXPECT_EQ(recipe.model.parameters.at("layers").position.file, path("bases/model.toml"));
  EXPECT_EQ(recipe.model.parameters.at("layers").position.line, 5);

  const Recipe replaced = read_text("include = [\"bases/model.toml\"]\n" + kSource);
  ASSERT_EQ(replaced.sources.size(), 1u);
  EXPECT_EQ(replaced.sources[0].name, "english");
}

TEST_F(Reader, LaysSettingsOverTheFile) {
  const std::string phases = "[[phase]]\nname = \"stable\"\nuntil = \"90%\"\n[[phase]]\nname = \"v1.5\"\n";
  const Recipe recipe = read_text(
      kSource + phases, {"run.seed=1", "run.seed=9", "run.tokens=2M tokens", "run.device=cpu", "metrics.console=false",
                         "phase.stable.until=80%", "phase.\"v1.5\".optimizer.beta2=0.5", "source.english.paths=['a', '/b']",
                         "model.plugin=./m.so", "model.name=a=b", "training.batch=\"4Ki tokens\"", "phase.stable.mix={english=1}"});
  EXPECT_EQ(recipe.run.seed, 9u);
  EXPECT_EQ(recipe.run.tokens, 2'000'000u);
  EXPECT_EQ(recipe.run.device, "cpu");
  EXPECT_FALSE(recipe.metrics.console);
  EXPECT_EQ(recipe.phases[0].until->value, 0.8);
  EXPECT_EQ(std::get<double>(recipe.phases[1].overrides.optimizer.at("beta2").value), 0.5);
  EXPECT_EQ(recipe.sources[0].paths, (std::vector<std::string>{path("a"), "/b"}));
  EXPECT_EQ(recipe.model.plugin, path("m.so"));
  EXPECT_EQ(std::get<std::string>(recipe.model.parameters.at("name").value), "a=b");
  EXPECT_EQ(recipe.model.parameters.at("name").position.file, "--set model.name=a=b");
  EXPECT_EQ(recipe.training.batch.tokens, 4096u);
}

TEST_F(Reader, TakesALineFeedInASettingForNoOtherKey) {
  write("small.toml", kSource);
  EXPECT_FALSE(read_recipe(path("small.toml"), {"run.seed=1\nrun.tokens=5"}));
  EXPECT_FALSE(read_recipe(path("small.toml"), {"run.device=\"cpu\"\n[training]\nbatch=1"}));
  EXPECT_FALSE(read_recipe(path("small.toml"), {"[training]\nbatch=8192"}));
}

TEST_F(Reader, ExpandsEnvironmentVariablesInPathsOnly) {
  setenv("TRAINHOST_TEST_CORPORA", "/corpora", 1);
  const Recipe recipe = read_text(
      "[run]\ndirectory = \"${TRAINHOST_TEST_CORPORA}/run\"\n[[source]]\nname = \"a\"\npaths = [\"${TRAINHOST_TEST_CORPORA}/x\", \"y$\"]\n"
      "quality = \"${TRAINHOST_TEST_CORPORA}\"\n[model]\nplugin = \"./${TRAINHOST_TEST_CORPORA}\"\n");
  EXPECT_EQ(recipe.run.directory, "/corpora/run");
  EXPECT_EQ(recipe.sources[0].paths, (std::vector<std::string>{"/corpora/x", path("y$")}));
  EXPECT_EQ(recipe.sources[0].quality, "${TRAINHOST_TEST_CORPORA}");
  EXPECT_EQ(recipe.model.plugin, path("${TRAINHOST_TEST_CORPORA}"));

  setenv("TRAINHOST_TEST_NESTED", "${HOME}", 1);
  write("small.toml", "[[source]]\nname = \"a\"\npaths = [\"${TRAINHOST_TEST_NESTED}\"]\n");
  const auto nested = read_recipe(path("small.toml"), {});
  ASSERT_FALSE(nested);
  EXPECT_EQ(nested.error().at(0).message, "`source.paths`: the environment variable \"TRAINHOST_TEST_NESTED\" holds `${` itself");
}

TEST_F(Reader, SaysWhyAFileCannotBeRead) {
  const auto message = [&](const std::string &file) {
    const auto recipe = read_recipe(file, {"run.seed=x"});
    return recipe ? "" : to_string(recipe.error().at(0));
  };
  EXPECT_EQ(message(path("nosuch.toml")), path("nosuch.toml") + ": cannot be read: No such file or directory");
  EXPECT_EQ(message(folder_.string()), folder_.string() + ": cannot be read: Is a directory");
  EXPECT_EQ(message("/dev/zero"), "/dev/zero: is larger than 1048576 bytes");
}

std::string without_marks(std::string text) {
  const std::string mark = "  # default";
  for (size_t at; (at = text.find(mark)) != std::string::npos;) text.erase(at, mark.size());
  return text;
}

TEST_F(Reader, ReadsAResolvedRecipeBackEqual) {
  for (const std::string &text : {kWhole, kSource}) {
    const Recipe recipe = read_text(text);
    const std::string resolved = resolved_toml(recipe);
    write("elsewhere/recipe.toml", resolved);
    const Recipe again = read("elsewhere/recipe.toml");
    EXPECT_EQ(resolved_toml(again), without_marks(resolved));
    EXPECT_EQ(training_fingerprint(again), training_fingerprint(recipe));
  }
}

TEST_F(Reader, MarksTheDefaultsInAResolvedRecipe) {
  Recipe recipe = read_text(kSource + "[run]\nseed = 42\n[model]\nlayers = 2\n");
  recipe.model.parameters["width"] = {int64_t{64}, false, {}};  // as a manifest's default is added
  const std::string resolved = resolved_toml(recipe);
  const auto has = [&](const std::string &line) { return resolved.find("\n" + line + "\n") != std::string::npos; };
  EXPECT_TRUE(has("seed = 42"));
  EXPECT_TRUE(has("tokens = 10000000  # default"));
  EXPECT_TRUE(has("name = \"english\""));
  EXPECT_TRUE(has("name = \"train\"  # default"));
  EXPECT_TRUE(has("mix = { english = 1.0 }  # default"));
  EXPECT_TRUE(has("plugin = \"minicpm\"  # default"));
  EXPECT_TRUE(has("layers = 2"));
  EXPECT_TRUE(has("width = 64  # default"));
  EXPECT_TRUE(has("micro_batch = \"auto\"  # default"));
  EXPECT_EQ(resolved.find("every = \"\""), std::string::npos);  // sampling.every has no default
}

TEST_F(Reader, FingerprintsWhatTrainingDependsOn) {
  const auto fingerprint = [&](const std::vector<std::string> &settings) { return training_fingerprint(read_text(kWhole, settings)); };
  const std::string trunk = fingerprint({});
  EXPECT_EQ(trunk.size(), 64u);
  for (const char *same : {"run.directory=\"elsewhere\"",
                           "metrics.console=true",
                           "evaluation.every=1%",
                           "sampling.tokens=5",
                           "checkpoint.keep=9",
                           "branch.linear.batch=4096",
                           "parallel.sharding=optimizer",
                           "parallel.pipeline_stages=1",
                           "training.recompute=all",
                           "training.memory=1GiB",
                           "plugins.path=[\"elsewhere\"]",
                           "schedule.peak_lr=0.5",
                           "schedule.plugin=cosine",
                           "phase.annealing.schedule.peak_lr=0.5",
                           "optimizer.plugin=\"./lion.so\"",
                           "training.batch=\"16Ki tokens\"",
                           "run.seed=7",
                           "source.english.paths=[\"b\"]",
                           "source.english.epochs_at_most=9",
                           "source.english.domain=out"})
    EXPECT_EQ(fingerprint({same}), trunk) << same;
  for (const char *other : {"run.seed=8", "run.tokens=2M tokens", "source.english.held_out=0.1", "model.layers=3",
                            "packing.document_mask=true", "phase.stable.until=80%", "phase.annealing.optimizer.beta2=0.9",
                            "training.gradient_clip=0.0", "run.reduction=fast", "training.micro_batch=auto"})
    EXPECT_NE(fingerprint({other}), trunk) << other;
}

TEST_F(Reader, FingerprintsTheScheduleApart) {
  const auto fingerprint = [&](const std::vector<std::string> &settings) { return schedule_fingerprint(read_text(kWhole, settings)); };
  const std::string trunk = fingerprint({});
  for (const char *same : {"run.seed=8", "model.layers=3", "phase.annealing.optimizer.beta2=0.9", "schedule.plugin=cosine"})
    EXPECT_EQ(fingerprint({same}), trunk) << same;
  for (const char *other : {"schedule.peak_lr=0.5", "phase.annealing.schedule.peak_lr=0.5"})
    EXPECT_NE(fingerprint({other}), trunk) << other;
}

TEST_F(Reader, ReadsBatchesThatGrowAndWritesThemBack) {
  const std::string text =
      kSource +
      "[training]\nbatch = [{ tokens = 1024, until = \"10%\" }, { tokens = \"4Ki tokens\" }]\n"
      "[[phase]]\nname = \"a\"\nuntil = \"30%\"\n"
      "[[phase]]\nname = \"b\"\nuntil = \"50%\"\nbatch = { rule = \"ramp\", from = 1024, to = 4096, until = \"40%\" }\n"
      "[[phase]]\nname = \"c\"\nuntil = \"70%\"\nmix_over = \"5%\"\nbatch = { rule = \"stall\", from = 1024, to = 4096 }\n"
      "[[phase]]\nname = \"d\"\nbatch = { rule = \"loss\", from = 1024, to = 2048, every = \"7 steps\", scale = 9e4 }\n";
  const Recipe recipe = read_text(text);
  EXPECT_EQ(recipe.training.batch.sizes(), (std::vector<uint64_t>{1024, 4096}));
  EXPECT_EQ(recipe.training.batch.levels[0].until->value, 0.1);
  EXPECT_FALSE(recipe.training.batch.levels[1].until);
  EXPECT_EQ(recipe.phases[1].overrides.batch->sizes(), (std::vector<uint64_t>{1024, 2048, 3072, 4096}));
  EXPECT_EQ(recipe.phases[2].overrides.batch->sizes(), (std::vector<uint64_t>{1024, 2048, 4096}));
  EXPECT_EQ(recipe.phases[2].overrides.batch->every->value, 0.01);
  EXPECT_EQ(recipe.phases[2].overrides.mix_over->value, 0.05);
  EXPECT_EQ(recipe.phases[3].overrides.batch->scale, 9e4);
  EXPECT_EQ(recipe.phases[3].overrides.batch->exponent, 6.24);
  const Recipe again = read_text(resolved_toml(recipe));
  EXPECT_EQ(training_fingerprint(again), training_fingerprint(recipe));
  EXPECT_EQ(again.phases[3].overrides.batch->every->value, 7);
}

TEST_F(Reader, ReadsMixesByTheSizeOfTheModelAndWritesThemBack) {
  const std::string text =
      kSource +
      "[[source]]\nname = \"code\"\npaths = [\"b\"]\n"
      "[[phase]]\nname = \"a\"\nuntil = \"30%\"\nmix = [{ parameters = \"9.4M\", shares = { english = 3, code = 1 } },\n"
      "  { parameters = 500000000, shares = { code = 1 } }]\n"
      "[[phase]]\nname = \"b\"\nuntil = \"60%\"\n[[phase]]\nname = \"c\"\nmix = { code = 9 }\n"
      "[[branch]]\nname = \"same\"\nfrom = \"end of a\"\nmix = { english = 1 }\n"
      "[[branch]]\nname = \"sized\"\nfrom = \"end of a\"\n"
      "mix = [{ parameters = 1, shares = { english = 1, code = 1 } }, { parameters = 2, shares = { english = 1 } }]\n";
  const Recipe recipe = read_text(text);
  for (const size_t phase : {0, 1}) {  // the second has what the first has
    const Overrides &overrides = recipe.phases[phase].overrides;
    EXPECT_FALSE(overrides.mix);
    ASSERT_EQ(overrides.mix_by_size.size(), 2u);
    EXPECT_EQ(overrides.mix_by_size[0].parameters, 9'400'000u);
    EXPECT_EQ(overrides.mix_by_size[0].shares, (std::map<std::string, double>{{"code", 0.25}, {"english", 0.75}}));
    EXPECT_EQ(overrides.mix_by_size[1].parameters, 500'000'000u);
    EXPECT_EQ(overrides.mix_by_size[1].shares, (std::map<std::string, double>{{"code", 1}}));
  }
  EXPECT_EQ(recipe.phases[2].overrides.mix, (std::map<std::string, double>{{"code", 1}}));
  EXPECT_TRUE(recipe.phases[2].overrides.mix_by_size.empty());

  const Recipe same = branch_recipe(recipe, recipe.branches[0]), sized = branch_recipe(recipe, recipe.branches[1]);
  EXPECT_EQ(same.phases[1].overrides.mix, (std::map<std::string, double>{{"english", 1}}));
  EXPECT_TRUE(same.phases[1].overrides.mix_by_size.empty());
  EXPECT_FALSE(sized.phases[2].overrides.mix);
  EXPECT_EQ(sized.phases[2].overrides.mix_by_size[0].shares.at("code"), 0.5);
  EXPECT_EQ(sized.phases[0].overrides.mix_by_size[0].shares.at("code"), 0.25);

  const Recipe again = read_text(resolved_toml(recipe));
  EXPECT_EQ(resolved_toml(again), without_marks(resolved_toml(recipe)));
  EXPECT_EQ(training_fingerprint(again), training_fingerprint(recipe));
  // A fixed mix on the command line takes the table's place.
  const Recipe fixed = read_text(text, {"phase.a.mix={code=1}"});
  EXPECT_EQ(fixed.phases[1].overrides.mix, (std::map<std::string, double>{{"code", 1}}));
  EXPECT_TRUE(fixed.phases[1].overrides.mix_by_size.empty());
}

TEST_F(Reader, LaysABranchOverThePhasesAfterIt) {
  const std::string text = kSource +
                           "[[phase]]\nname = \"warm\"\nuntil = \"10%\"\n[[phase]]\nname = \"stable\"\nuntil = \"90%\"\n"
                           "[[phase]]\nname = \"annealing\"\noptimizer.beta1 = 0.8\noptimizer.beta2 = 0.9\n"
                           "[[branch]]\nname = \"other\"\nfrom = \"end of warm\"\nbatch = 4096\noptimizer.beta2 = 0.5\n";
  const Recipe trunk = read_text(text);
  const Recipe branch = branch_recipe(trunk, trunk.branches[0]);
  EXPECT_EQ(branch.run.directory, trunk.run.directory + "/branches/other");
  EXPECT_TRUE(branch.branches.empty());
  ASSERT_EQ(branch.phases.size(), 3u);
  EXPECT_FALSE(branch.phases[0].overrides.batch);
  EXPECT_TRUE(branch.phases[0].overrides.optimizer.empty());
  EXPECT_EQ(branch.phases[1].overrides.batch->tokens, 4096u);
  EXPECT_EQ(branch.phases[2].overrides.batch->tokens, 4096u);
  EXPECT_EQ(std::get<double>(branch.phases[2].overrides.optimizer.at("beta1").value), 0.8);
  EXPECT_EQ(std::get<double>(branch.phases[2].overrides.optimizer.at("beta2").value), 0.5);
  EXPECT_EQ(branch.given.at("phase.2.batch").line, 17);

  write("branch.toml", resolved_toml(branch));
  EXPECT_EQ(training_fingerprint(read("branch.toml")), training_fingerprint(branch));
}

TEST_F(Reader, ABranchMayEndElsewhereWhileWhatItKeepsStaysInItsPlace) {
  const std::string text =
      kSource +
      "[run]\ntokens = \"1000Ki tokens\"\n[training]\nbatch = [{ tokens = 1024, until = \"30%\" }, { tokens = 2048 }]\n"
      "[[phase]]\nname = \"stable\"\nuntil = \"60%\"\n[[phase]]\nname = \"middle\"\nuntil = \"80%\"\n[[phase]]\nname = \"decay\"\n"
      "[[branch]]\nname = \"short\"\nfrom = \"end of stable\"\nuntil = \"70%\"\nseed = 7\n"
      "[[branch]]\nname = \"longer\"\nfrom = \"end of middle\"\nuntil = \"1200Ki tokens\"\n";
  const Recipe trunk = read_text(text);
  const TokenAxis axis(trunk);

  const Recipe shorter = branch_recipe(trunk, trunk.branches[0]);
  const TokenAxis short_axis(shorter);
  EXPECT_EQ(shorter.run.seed, 7u);
  ASSERT_EQ(shorter.phases.size(), 2u);  // the decay would begin at its end or later
  EXPECT_EQ(short_axis.phases()[0].end_token, axis.phases()[0].end_token);
  EXPECT_EQ(short_axis.total_tokens(), 700u * 1024);
  EXPECT_EQ(short_axis.batches()[0].end_step, axis.batches()[0].end_step);

  const Recipe longer = branch_recipe(trunk, trunk.branches[1]);
  const TokenAxis long_axis(longer);
  EXPECT_EQ(longer.run.seed, trunk.run.seed);
  ASSERT_EQ(longer.phases.size(), 3u);
  EXPECT_EQ(long_axis.phases()[1].end_token, axis.phases()[1].end_token);
  EXPECT_EQ(long_axis.total_tokens(), 1200u * 1024);

  write("branch.toml", resolved_toml(shorter));
  EXPECT_EQ(training_fingerprint(read("branch.toml")), training_fingerprint(shorter));
}

}  // namespace
}  // namespace trainhost
