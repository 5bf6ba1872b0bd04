#include <cmath>

#include <gtest/gtest.h>

#include "plugin_host/adapters/dataset_mixer.h"
#include "plugin_host/adapters/lr_scheduler.h"
#include "plugin_host/adapters/model.h"
#include "plugin_host/adapters/optimizer.h"
#include "plugin_host/adapters/tokenizer.h"
#include "support/fixture_plugin.h"
#include "support/plugin_under_test.h"

namespace trainhost {
namespace {

// The fixture plugin of that kind, told what to do wrong in which call.
std::unique_ptr<PluginInstance> misbehaving(const std::string &kind, const std::string &in = "", const std::string &how = "") {
  const Manifest manifest = *read_manifest(fixture_plugin("misbehaving_" + kind));
  Parameters parameters{{"in", {in, true, {}}}, {"how", {how, true, {}}}};
  EXPECT_TRUE(check_parameters(manifest, parameters, {}).empty());  // adds the defaults
  return *PluginInstance::create(manifest, parameters, nullptr, {});
}

// The message after the plugin's name, which must be there; the kind too.
template <class Value>
std::string complaint(const std::string &kind, const Result<Value> &result, ErrorKind expected = ErrorKind::kPlugin) {
  if (result) return "none";
  EXPECT_EQ(result.error().kind, expected) << result.error().message;
  const std::string subject = kind + " plugin \"misbehaving_" + kind + "\" 0.1.0 (" + fixture_plugin("misbehaving_" + kind) + "): ";
  EXPECT_TRUE(result.error().message.starts_with(subject)) << result.error().message;
  return result.error().message.substr(std::min(subject.size(), result.error().message.size()));
}

constexpr ErrorKind kContract = ErrorKind::kPluginContract;

const std::vector<MixerSource> kSources{{"a", "en", "high", 100}, {"b", "en", "high", 100}, {"c", "en", "high", 100}};
const PhaseMix kMix{.phase = 2, .weights = {0.5, 0, 0.5}, .windows = {10, 10, 0}, .samples = 20};

const RoundBefore kBefore{.round = 7, .weights = {0.5, 0, 0.5}, .losses = {2, NAN, 3}, .tokens = {10, 0, 20}};

auto tokenizer(const std::string &in = "", const std::string &how = "") { return Tokenizer::create(misbehaving("tokenizer", in, how), ""); }
auto mixer(const std::string &in = "", const std::string &how = "") {
  return DatasetMixer::create(misbehaving("dataset_mixer", in, how), kSources, 1);
}
auto optimizer(const std::string &in = "", const std::string &how = "") { return Optimizer::create(misbehaving("optimizer", in, how)); }
auto scheduler(const std::string &in = "", const std::string &how = "") {
  return LrScheduler::create(misbehaving("lr_scheduler", in, how), th_progress{});
}
auto model(const std::string &in = "", const std::string &how = "") {
  return Model::create(misbehaving("model", in, how), th_model_options{});
}

// Whatever a plugin does wrong in a call: the C++ layer makes a status of it, the host an error that names plugin, file and call.
TEST(Failure, OfEveryFormBecomesAnError) {
  const auto values = [](const std::string &how) { return (*scheduler("values", how))->values({}); };
  EXPECT_EQ(complaint("lr_scheduler", values("invalid")), "values: told to refuse");
  EXPECT_EQ(complaint("lr_scheduler", values("exception")), "values: told to throw");
  EXPECT_EQ(complaint("lr_scheduler", values("memory")), "values: out of memory");
  EXPECT_EQ(complaint("lr_scheduler", values("integer")), "values: an exception that is not a std::exception");
  EXPECT_EQ(complaint("lr_scheduler", values("cancelled"), ErrorKind::kStopped), "values: told to stop");
  EXPECT_EQ(complaint("lr_scheduler", values("no status"), kContract), "values: returned 99, which is no th_status");
}

TEST(Failure, OfCreateIsTheUsersMistakeWhenThePluginSaysSo) {
  EXPECT_EQ(complaint("tokenizer", tokenizer("create", "invalid"), ErrorKind::kRecipe), "create: told to refuse");
  EXPECT_EQ(complaint("dataset_mixer", mixer("create", "invalid"), ErrorKind::kRecipe), "create: told to refuse");
  EXPECT_EQ(complaint("optimizer", optimizer("create", "invalid"), ErrorKind::kRecipe), "create: told to refuse");
  EXPECT_EQ(complaint("lr_scheduler", scheduler("create", "invalid"), ErrorKind::kRecipe), "create: told to refuse");
  EXPECT_EQ(complaint("model", model("create", "invalid"), ErrorKind::kRecipe), "create: told to refuse");
  EXPECT_EQ(complaint("model", model("create", "exception")), "create: told to throw");
}

TEST(TokenizerAdapter, CodesAndDecodes) {
  const auto bytes = tokenizer();
  ASSERT_TRUE(bytes) << bytes.error().message;
  EXPECT_EQ((*bytes)->vocabulary_size(), 256u);
  EXPECT_EQ((*bytes)->end_id(), 10u);
  EXPECT_EQ((*bytes)->fingerprint(), "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
  std::vector<uint32_t> ids{1};
  ASSERT_TRUE(
      (*bytes)->encode("\xff"
                       "a",
                       ids));
  EXPECT_EQ(ids, (std::vector<uint32_t>{1, 255, 97}));
  EXPECT_EQ(*(*bytes)->decode(ids),
            "\x01\xff"
            "a");
}

TEST(TokenizerAdapter, RefusesWhatBreaksTheContract) {
  EXPECT_EQ(complaint("tokenizer", tokenizer("describe", "exception")), "describe: told to throw");
  EXPECT_EQ(complaint("tokenizer", tokenizer("describe", "no ids"), kContract), "describe: vocabulary_size is 0, expected 1 to 2147483647");
  EXPECT_EQ(complaint("tokenizer", tokenizer("describe", "end beyond"), kContract),
            "describe: end_id is 256, expected -1 or an id below 256");
  std::vector<uint32_t> ids{1};
  EXPECT_EQ(complaint("tokenizer", (*tokenizer("encode", "id beyond"))->encode("abc", ids), kContract),
            "encode: gave id 300, the vocabulary has 256 ids");
  EXPECT_EQ(complaint("tokenizer", (*tokenizer("encode", "exception"))->encode("abc", ids)), "encode: told to throw");
  EXPECT_EQ(ids, std::vector<uint32_t>{1}) << "a failed call adds nothing";
  EXPECT_EQ(complaint("tokenizer", (*tokenizer("decode", "exception"))->decode(ids)), "decode: told to throw");
}

TEST(TokenizerAdapter, TrainsOnTheHostsDocuments) {
  const auto plugin = misbehaving("tokenizer");
  EXPECT_TRUE(*Tokenizer::is_trainable(*plugin));
  std::vector<std::string> documents{"one", "", "three"};
  size_t next = 0;
  const Tokenizer::NextDocument source = [&]() -> Result<std::optional<std::string_view>> {
    if (next == documents.size()) return std::nullopt;
    return documents[next++];
  };
  EXPECT_EQ(*Tokenizer::train(*plugin, source, 8), "[one][][three]");
  EXPECT_EQ(complaint("tokenizer", Tokenizer::train(*misbehaving("tokenizer", "train", "exception"), source, 8)), "train: told to throw");
  const Tokenizer::NextDocument torn = []() -> Result<std::optional<std::string_view>> {
    return failure(ErrorKind::kData, "corpus.txt: is torn");
  };
  const auto failed = Tokenizer::train(*plugin, torn, 8);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "corpus.txt: is torn") << "the host's failure outweighs what the plugin makes of it";
  EXPECT_EQ(failed.error().kind, ErrorKind::kData);
}

TEST(MixerAdapter, RefusesWhatBreaksTheContract) {
  std::vector<uint32_t> source(4);
  std::vector<uint64_t> ordinal(4);
  const auto plan = [&](const std::string &how) { return (*mixer("plan", how))->plan(kMix, 8, source, ordinal); };
  EXPECT_EQ(complaint("dataset_mixer", plan("")), "none");
  EXPECT_EQ(ordinal, (std::vector<uint64_t>{8, 9, 10, 11}));
  EXPECT_EQ(complaint("dataset_mixer", plan("exception")), "plan: told to throw");
  EXPECT_EQ(complaint("dataset_mixer", plan("no such source"), kContract),
            "plan: sample 11 of phase 2 comes from source 3, there are 3 sources");
  EXPECT_EQ(complaint("dataset_mixer", plan("no share"), kContract),
            "plan: sample 11 of phase 2 comes from source 1, whose share in the phase is 0");
  EXPECT_EQ(complaint("dataset_mixer", plan("no windows"), kContract),
            "plan: sample 11 of phase 2 comes from source 2, which has no samples");
  EXPECT_EQ(*(*mixer())->counts(kMix, 7), (std::vector<uint64_t>{7, 0, 0}));
  EXPECT_EQ(complaint("dataset_mixer", (*mixer("counts", "one short"))->counts(kMix, 7), kContract),
            "counts: the sources' counts add up to 6, expected 7 samples of phase 2");
  EXPECT_EQ(complaint("dataset_mixer", (*mixer("counts", "exception"))->counts(kMix, 7)), "counts: told to throw");
}

TEST(MixerAdapter, BeginsRounds) {
  const auto rounds = *mixer();
  ASSERT_TRUE(rounds->rounds());
  EXPECT_EQ(rounds->rounds()->state_size, 2u);
  EXPECT_EQ(rounds->rounds()->tokens, 1e18);
  std::vector<double> state{5, 0}, weights(3);
  ASSERT_TRUE(rounds->next_round(kMix, kBefore, state, weights));
  EXPECT_EQ(weights, (std::vector<double>{1, 0, 0})) << "divided by their sum";
  EXPECT_EQ(state, (std::vector<double>{6, 0}));
  const auto plain = *DatasetMixer::create(plugin_under_test(PluginKind::kDatasetMixer, "weighted"), kSources, 1);
  EXPECT_FALSE(plain->rounds());
}

TEST(MixerAdapter, RefusesRoundsThatBreakTheContract) {
  EXPECT_EQ(complaint("dataset_mixer", mixer("describe", "exception")), "describe: told to throw");
  EXPECT_EQ(complaint("dataset_mixer", mixer("describe", "too much state"), kContract),
            "describe: state_size is 65537, expected at most 65536");
  EXPECT_EQ(complaint("dataset_mixer", mixer("describe", "no tokens"), kContract),
            "describe: round_tokens is 0, expected a finite number of tokens above 0");
  std::vector<double> state(2), weights(3);
  const auto next = [&](const std::string &how) { return (*mixer("next_round", how))->next_round(kMix, kBefore, state, weights); };
  EXPECT_EQ(complaint("dataset_mixer", next("exception")), "next_round: told to throw");
  const std::string where = "next_round: round 7, in phase 2: ";
  EXPECT_EQ(complaint("dataset_mixer", next("no share"), kContract),
            where + "the weight of source 1 is 1, expected 0 because its share in the phase is 0");
  EXPECT_EQ(complaint("dataset_mixer", next("negative"), kContract),
            where + "the weight of source 0 is -1, expected a finite number from 0 on");
  EXPECT_EQ(complaint("dataset_mixer", next("infinite"), kContract),
            where + "the weight of source 0 is inf, expected a finite number from 0 on");
  EXPECT_EQ(complaint("dataset_mixer", next("nothing"), kContract), where + "the weights sum to 0, expected a finite sum above 0");
  EXPECT_EQ(complaint("dataset_mixer", next("too much"), kContract), where + "the weights sum to inf, expected a finite sum above 0");
  EXPECT_EQ(complaint("dataset_mixer", next("state"), kContract), where + "number 1 of its state is nan, expected finite numbers");
}

TEST(OptimizerAdapter, DescribesStates) {
  const auto states = (*optimizer())->describe_states({});
  ASSERT_TRUE(states);
  ASSERT_EQ(states->size(), 2u);
  EXPECT_EQ((*states)[0].name, "average");
  EXPECT_TRUE((*states)[0].like_parameter);
  EXPECT_EQ((*states)[0].initial, 0.5);
  EXPECT_FALSE((*states)[1].like_parameter);
  EXPECT_TRUE((*states)[1].shape.empty());
}

TEST(OptimizerAdapter, RefusesWhatBreaksTheContract) {
  th_parameter_info parameter{};
  parameter.name = {"head", 4};
  const auto describe = [&](const std::string &how) { return (*optimizer("describe_states", how))->describe_states(parameter); };
  EXPECT_EQ(complaint("optimizer", describe("exception")), "describe_states: told to throw");
  EXPECT_EQ(complaint("optimizer", describe("same name"), kContract),
            "describe_states: parameter \"head\": state \"average\" is there twice");
  EXPECT_EQ(complaint("optimizer", describe("no name"), kContract), "describe_states: parameter \"head\": a state has no name");
  EXPECT_EQ(complaint("optimizer", describe("too many"), kContract),
            "describe_states: parameter \"head\": 102 states, at most 64 are possible");
  const std::vector<const th_parameter_info *> parameters(3, &parameter);
  EXPECT_EQ((*optimizer())->workspace_bytes(parameters).value(), 300u);
  EXPECT_EQ(complaint("optimizer", (*optimizer("workspace", "exception"))->workspace_bytes(parameters)), "workspace: told to throw");
  EXPECT_EQ(complaint("optimizer", (*optimizer("workspace", "huge"))->workspace_bytes(parameters), kContract),
            "workspace: asks for 18446744073709551615 bytes, at most 1125899906842624 are possible");
  EXPECT_EQ(complaint("optimizer", (*optimizer("update", "exception"))->update({}, {})), "update: told to throw");
  EXPECT_EQ(complaint("optimizer", (*optimizer())->update({}, {})), "none");
}

TEST(SchedulerAdapter, RefusesWhatBreaksTheContract) {
  const auto values = [](const std::string &how) {
    th_progress progress{};
    progress.step = 5;
    return (*scheduler("values", how))->values(progress);
  };
  const auto right = values("");
  ASSERT_TRUE(right);
  EXPECT_EQ(right->learning_rate, 0.25);
  EXPECT_EQ(right->weight_decay_multiplier, 1);
  EXPECT_TRUE(std::isnan(right->momentum));
  EXPECT_EQ(complaint("lr_scheduler", values("negative"), kContract),
            "values: learning_rate is -0.5 at step 5, expected a finite number of at least 0");
  EXPECT_EQ(complaint("lr_scheduler", values("not a number"), kContract),
            "values: learning_rate is nan at step 5, expected a finite number of at least 0");
  EXPECT_EQ(complaint("lr_scheduler", values("endless decay"), kContract),
            "values: weight_decay_multiplier is inf at step 5, expected a finite number of at least 0");
  EXPECT_EQ(complaint("lr_scheduler", values("endless momentum"), kContract),
            "values: momentum is inf at step 5, expected a finite number, or NaN for the optimizer's own");
}

TEST(ModelAdapter, RefusesADescriptionThatBreaksTheContract) {
  const auto made = [](const std::string &in, const std::string &how) { return complaint("model", model(in, how), kContract); };
  EXPECT_EQ(made("", ""), "none");
  EXPECT_EQ(made("parameter_info", "same name"), "parameter_info: parameter \"first.weight\" is there twice");
  EXPECT_EQ(made("parameter_info", "no name"), "parameter_info: parameter 1 \"\" has no name");
  EXPECT_EQ(made("parameter_info", "empty"), "parameter_info: parameter 1 \"last.weight\" has extent 0 in dimension 1");
  EXPECT_EQ(made("parameter_info", "rank"), "parameter_info: parameter 1 \"last.weight\" has rank 5, expected 1 to 4");
  EXPECT_EQ(made("unit_count", "one"), "unit_count: gave 1, expected 2 to 1048576");
  EXPECT_EQ(made("unit_info", "same name"), "unit_info: unit \"first\" is there twice");
  EXPECT_EQ(made("unit_info", "no such parameter"), "unit_info: unit 1 \"last\" lists parameter 2, there are 2");
  EXPECT_EQ(made("unit_info", "left out"), "unit_info: parameter \"last.weight\" is in no unit");
  EXPECT_EQ(made("unit_info", "no width"), "unit_info: unit 0 \"first\" has output_width 0, expected at least 1");
}

TEST(ModelAdapter, NamesTheUnitOfAFailedCall) {
  const th_call call{};
  const th_batch batch{};
  th_tensor tensor{};
  const auto forward = [&](const std::string &how) { return (*model("forward", how))->forward(1, call, batch, nullptr, tensor, tensor); };
  EXPECT_EQ(complaint("model", forward("exception")), "forward of unit 1 \"last\": told to throw");
  EXPECT_EQ(complaint("model", forward("keeps"), kContract), "forward of unit 1 \"last\": keeps something, though nothing was to be kept");
  EXPECT_EQ(
      complaint("model",
                (*model("backward", "exception"))->backward(0, call, batch, nullptr, tensor, nullptr, tensor, tensor, nullptr, nullptr)),
      "backward of unit 0 \"first\": told to throw");
  EXPECT_EQ(
      complaint(
          "model",
          (*model("loss_and_backward", "exception"))->loss_and_backward(call, batch, nullptr, tensor, tensor, tensor, nullptr, nullptr)),
      "loss_and_backward of unit 1 \"last\": told to throw");
  EXPECT_EQ(complaint("model", (*model("logits", "exception"))->logits(call, batch, nullptr, tensor, {}, tensor)), "logits: told to throw");
  EXPECT_EQ(complaint("model", (*model("measure", "exception"))->measure_peak()), "measure: told to throw");
  EXPECT_EQ(complaint("model", (*model("measure", "negative"))->measure_peak(), kContract), "measure: gave -1 operations per second");
  EXPECT_EQ(*(*model())->measure_peak(), 1e9);
}

// A model without any optional slot: tests/fixtures/plugins/table.c.
TEST(ModelAdapter, DoesWithoutOptionalSlots) {
  const Manifest manifest = *read_manifest(fixture_plugin("table_nothing"));
  auto least = Model::create(*PluginInstance::create(manifest, {}, nullptr, {}), th_model_options{});
  ASSERT_TRUE(least) << least.error().message;
  EXPECT_FALSE((*least)->has_logits());
  EXPECT_EQ(*(*least)->measure_peak(), 0);
  float loss = 0, gradient = 0;
  th_tensor loss_tensor{}, gradient_tensor{};
  loss_tensor.data = &loss;
  gradient_tensor.data = &gradient;
  th_call call{};
  call.training = call.keep = 1;
  const auto done = (*least)->loss_and_backward(call, th_batch{}, nullptr, th_tensor{}, loss_tensor, gradient_tensor, nullptr, nullptr);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(loss, 2.5F);
  EXPECT_EQ(gradient, 7.0F);
  const auto logits = (*least)->logits(call, th_batch{}, nullptr, th_tensor{}, {}, loss_tensor);
  EXPECT_EQ(logits.error().message, "model plugin \"table\" 0.1.0 (" + fixture_plugin("table_nothing") +
                                        "): gives no logits (extension \"th.model.logits/1\"), so it cannot write text");
}

}  // namespace
}  // namespace trainhost
