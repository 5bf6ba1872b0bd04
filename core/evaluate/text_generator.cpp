#include "evaluate/text_generator.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <nlohmann/json.hpp>

#include "base/random.h"
#include "collectives/agreement.h"

namespace trainhost {
namespace {

TokenBatch one_sequence(std::span<const uint32_t> ids) {
  TokenBatch batch;
  batch.sequences = 1;
  batch.sequence_length = static_cast<uint32_t>(ids.size());
  batch.tokens.assign(ids.begin(), ids.end());
  batch.targets = batch.tokens;
  batch.loss_weights.assign(ids.size(), 0);
  batch.positions.resize(ids.size());
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.document_starts = {0, static_cast<int32_t>(ids.size())};
  return batch;
}

// Length of the longest prefix that does not end inside a UTF-8 character.
size_t whole_characters(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xC0) continue;  // a continuation byte: its first byte is further back
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    return back < length ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace

std::string replace_malformed_utf8(std::string_view text) {
  using nlohmann::json;
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
}

uint32_t choose_id(std::span<const float> logits, double temperature, double top_p, double uniform) {
  const auto likeliest = std::max_element(logits.begin(), logits.end());
  if (temperature == 0) return static_cast<uint32_t>(likeliest - logits.begin());
  std::vector<double> weights(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) weights[i] = std::exp((double{logits[i]} - *likeliest) / temperature);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<uint32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return weights[a] > weights[b]; });
  size_t kept = 0;
  double mass = 0;
  while (kept < order.size() && mass < top_p * total) mass += weights[order[kept++]];
  double remaining = uniform * mass;
  for (size_t i = 0; i + 1 < kept; ++i) {
    remaining -= weights[order[i]];
    if (remaining < 0) return order[i];
  }
  return order[kept - 1];
}

Result<std::vector<uint32_t>> ids_without_text(const Tokenizer &tokenizer) {
  std::vector<uint32_t> ids;
  for (uint32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    if (id == tokenizer.end_id()) continue;
    TRAINHOST_TRY(const std::string bytes, tokenizer.decode({&id, 1}));
    if (bytes.empty()) ids.push_back(id);
  }
  return ids;
}

Result<uint32_t> TextGenerator::next_id(std::span<const uint32_t> ids, std::span<const uint32_t> never, const SamplingSettings &settings,
                                        uint64_t index) const {
  const TokenBatch batch = one_sequence(ids.last(std::min<size_t>(ids.size(), context_)));
  const int32_t row = static_cast<int32_t>(batch.sequence_length) - 1;
  std::vector<float> logits(tokenizer_.vocabulary_size());
  TRAINHOST_CHECK(runner_.logits(batch, {&row, 1}, logits));
  for (const uint32_t id : never) logits[id] = -std::numeric_limits<float>::infinity();
  return choose_id(logits, settings.temperature, settings.top_p,
                   random_uniform(settings.seed, random_stream(RandomPurpose::kSampling, 0), index));
}

Result<std::string> TextGenerator::generate(std::string_view prompt, const SamplingSettings &settings,
                                            const std::function<void(std::string_view)> &each_piece) const {
  TRAINHOST_TRY(const std::vector<uint32_t> never, ids_without_text(tokenizer_));
  std::vector<uint32_t> ids;
  TRAINHOST_CHECK(tokenizer_.encode(prompt, ids));
  if (ids.empty()) ids.push_back(tokenizer_.end_id().value_or(0));
  std::string text;
  size_t shown = 0;
  for (uint32_t i = 0; i < settings.tokens; ++i) {
    TRAINHOST_TRY(const bool stopped, any_of(*runner_.spread().world, settings.stop != nullptr && *settings.stop));
    if (stopped) return failure(ErrorKind::kStopped, "stopped while writing a sample");
    TRAINHOST_TRY(const uint32_t id, next_id(ids, never, settings, i));
    if (id == tokenizer_.end_id()) break;
    ids.push_back(id);
    TRAINHOST_TRY(const std::string bytes, tokenizer_.decode({&id, 1}));
    text += bytes;
    const size_t whole = whole_characters(text);
    if (each_piece && whole > shown) each_piece(replace_malformed_utf8(std::string_view(text).substr(shown, whole - shown)));
    shown = std::max(shown, whole);
  }
  return replace_malformed_utf8(text);
}

Result<> TextSampling::begin(TrainState &state) { return state.step == 0 ? Result<>{} : sample_when_due(state); }

Result<> TextSampling::after_step(TrainState &state, const StepReport &) { return sample_when_due(state); }

bool TextSampling::pending(const TrainState &state) const {
  const auto &settings = recipe_.sampling;
  const bool due = state.step == axis_.total_steps() || (settings.every && axis_.due_at(*settings.every, state.step));
  return due && state.sampled_step != state.step;
}

// A stop in between leaves them all to the resumed run, so that they are reported once.
Result<> TextSampling::sample_when_due(TrainState &state) {
  if (!pending(state)) return {};
  const auto &recipe = recipe_.sampling;
  const SamplingSettings settings{
      .tokens = recipe.tokens, .temperature = recipe.temperature, .top_p = recipe.top_p, .seed = recipe_.run.seed, .stop = &stop_};
  std::vector<TextSample> samples;
  for (const std::string &prompt : recipe.prompts) {
    auto text = generator_.generate(prompt, settings);
    if (!text && text.error().kind == ErrorKind::kStopped) return {};  // the trainer saves
    if (!text) return tl::unexpected(std::move(text).error());
    samples.push_back({.step = state.step, .prompt = prompt, .continuation = *std::move(text)});
  }
  for (const TextSample &sample : samples) reporter_.sample(sample);
  state.sampled_step = state.step;
  return {};
}

}  // namespace trainhost
