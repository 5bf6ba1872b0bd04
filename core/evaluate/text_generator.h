// Text as the model writes it: one token after the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "plugin_host/adapters/tokenizer.h"
#include "recipe/recipe.h"
#include "recipe/token_axis.h"
#include "train/model_runner.h"
#include "train/observer.h"
#include "train/reporter.h"

namespace trainhost {

struct SamplingSettings {
  uint32_t tokens = 64;      // at most; the end token ends earlier
  double temperature = 0.8;  // 0: always the likeliest token
  double top_p = 0.95;       // the likeliest tokens whose probabilities sum to this, in (0, 1]
  uint64_t seed = 42;        // the same seed, the same text
  const std::atomic<bool> *stop = nullptr;
};

class TextGenerator {
 public:
  // All must outlive the generator. context: the longest sequence that the model takes; older tokens fall out.
  TextGenerator(ModelRunner &runner, const Tokenizer &tokenizer, uint32_t context)
      : runner_(runner), tokenizer_(tokenizer), context_(context) {}

  // What follows the prompt; with an empty prompt, what follows an end token. Never has ids_without_text(). each_piece gets the text as it
  // comes, whole UTF-8 characters at a time (malformed bytes become U+FFFD), and may be empty. Errors: kRecipe when the model has no
  // logits; a plugin's; kStopped when settings.stop is set on any rank meanwhile.
  Result<std::string> generate(std::string_view prompt, const SamplingSettings &settings,
                               const std::function<void(std::string_view)> &each_piece = {}) const;

 private:
  Result<uint32_t> next_id(std::span<const uint32_t> ids, std::span<const uint32_t> never, const SamplingSettings &settings,
                           uint64_t index) const;

  ModelRunner &runner_;
  const Tokenizer &tokenizer_;
  uint32_t context_;
};

// The ids but the end's that stand for no bytes: control tokens, as those of a chat template. Plain text never encodes to them, so that a
// model which goes on with plain text is not to write them.
Result<std::vector<uint32_t>> ids_without_text(const Tokenizer &tokenizer);

// The id to take next: from softmax(logits / temperature), cut to top_p; uniform in [0, 1) decides. Exact for temperature 0. Those with a
// logit of -infinity are not taken, where others are there.
uint32_t choose_id(std::span<const float> logits, double temperature, double top_p, double uniform);

// Valid UTF-8: each malformed byte sequence becomes U+FFFD.
std::string replace_malformed_utf8(std::string_view text);

// Writes samples of the recipe's prompts when due and at the end.
class TextSampling : public TrainObserver {
 public:
  TextSampling(const Recipe &recipe, const TokenAxis &axis, const TextGenerator &generator, Reporter &reporter,
               const std::atomic<bool> &stop)
      : recipe_(recipe), axis_(axis), generator_(generator), reporter_(reporter), stop_(stop) {}
  Result<> after_step(TrainState &state, const StepReport &report) override;
  Result<> begin(TrainState &state) override;
  bool pending(const TrainState &state) const override;

 private:
  Result<> sample_when_due(TrainState &state);

  const Recipe &recipe_;
  const TokenAxis &axis_;
  const TextGenerator &generator_;
  Reporter &reporter_;
  const std::atomic<bool> &stop_;
};

}  // namespace trainhost
