#include "data/sample_stream.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "base/log.h"
#include "base/random.h"
#include "data/packing.h"
#include "data/permutation.h"

namespace trainhost {
namespace {

// Held-out windows come in an order that no run changes.
constexpr uint64_t kHeldOutSeed = 0;

// Steps with one mix, a phase or a round of one: as the mixer sees it, with where each source stands when it begins.
struct Segment {
  const PhaseSpan *phase;
  uint64_t first_step;
  PhaseMix mix;
  std::vector<const Packing *> packings;
  std::vector<ReadingPosition> start;

  // Each source goes on where it stands, in this phase's packing; one without a window there stays where it is.
  void start_from(const std::vector<ReadingPosition> &positions) {
    start = positions;
    for (size_t i = 0; i < start.size(); ++i) {
      if (mix.windows[i] > 0) start[i] = start[i].in(mix.windows[i]);
    }
  }
};

// The phase's mix as one share per source; equal shares when it has none, as in the recipe's reader.
std::vector<double> phase_weights(const Recipe &recipe, size_t phase) {
  const auto &mix = recipe.phases[phase].overrides.mix;
  std::vector<double> weights;
  for (const Source &source : recipe.sources) {
    const bool mixed_in = !mix || mix->contains(source.name);
    weights.push_back(!mixed_in ? 0.0 : mix ? mix->at(source.name) : 1.0);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double &weight : weights) weight /= sum;
  return weights;
}

Result<> check_windows(const Recipe &recipe, size_t phase, const PhaseMix &mix, uint32_t sequences, uint32_t sequence_length) {
  uint64_t available = 0;
  for (size_t i = 0; i < mix.weights.size(); ++i) {
    if (mix.weights[i] <= 0) continue;
    if (mix.windows[i] == 0) {
      return failure(
          ErrorKind::kData,
          fmt::format(
              "source \"{}\" has a share in phase \"{}\" but not one window of {} tokens; give it more text or a shorter sequence_length",
              recipe.sources[i].name, recipe.phases[phase].name, sequence_length));
    }
    available += mix.windows[i];
  }
  if (available < sequences) {
    return failure(ErrorKind::kData, fmt::format("the sources of phase \"{}\" have {} windows of {} tokens together; one batch takes {}: "
                                                 "give them more text or make the batch smaller",
                                                 recipe.phases[phase].name, available, sequence_length, sequences));
  }
  return {};
}

}  // namespace

ReadingPosition ReadingPosition::in(uint64_t other_windows) const {
  if (other_windows == windows) return *this;
  __extension__ typedef unsigned __int128 Wide;  // the product may need more than 64 bits
  const auto moved = static_cast<uint64_t>((Wide{window} * other_windows + windows - 1) / windows);
  return moved < other_windows ? ReadingPosition{epoch, moved, other_windows} : ReadingPosition{epoch + 1, 0, other_windows};
}

ReadingPosition ReadingPosition::after(uint64_t samples) const {
  const uint64_t end = window + samples;
  return {epoch + end / windows, end % windows, windows};
}

struct SampleStream::State {
  const TokenAxis *axis;
  const PreparedData *data;
  const DatasetMixer *mixer;
  uint64_t seed;
  bool document_mask;
  std::map<uint32_t, std::vector<Packing>> packings;  // sequence length -> one per source
  std::vector<Segment> phases;
  std::optional<Segment> round;  // takes the place of the phases

  const Segment &at(uint64_t step) const { return round ? *round : phases[axis->phase_of_step(step)]; }

  const std::vector<Packing> &pack(const Recipe &recipe, uint32_t sequence_length) {
    auto [entry, absent] = packings.try_emplace(sequence_length);
    if (absent) {
      for (const PreparedSource &source : data->sources) {
        entry->second.emplace_back(*source.training, Packing::mode(recipe.packing.mode), sequence_length);
      }
    }
    return entry->second;
  }

  // Where the sources stand after the segment's first `samples` samples.
  Result<std::vector<ReadingPosition>> positions(const Segment &segment, uint64_t samples) const {
    TRAINHOST_TRY(const std::vector<uint64_t> counts, mixer->counts(segment.mix, samples));
    std::vector<ReadingPosition> positions = segment.start;
    for (size_t i = 0; i < positions.size(); ++i) {
      if (counts[i] > 0) positions[i] = positions[i].after(counts[i]);
    }
    return positions;
  }

  Result<std::vector<TokenBatch>> held_out(uint32_t source, uint32_t sequence_length, uint64_t max_tokens,
                                           uint32_t micro_batch_sequences) const {
    const TokenStore &store = *data->sources[source].held_out;
    TRAINHOST_CHECK(store.check_unchanged());
    // Best fit whatever the training does: every held-out token is then judged once.
    const Packing packing(store, Packing::Mode::kBestFit, sequence_length);
    const uint64_t count = std::min(packing.windows(), std::max<uint64_t>(1, max_tokens / sequence_length));
    const Permutation order(packing.windows(), kHeldOutSeed, random_stream(RandomPurpose::kHeldOut, 0), 0);
    std::vector<TokenBatch> batches;
    for (uint64_t i = 0; i < count; ++i) {
      if (i % micro_batch_sequences == 0) batches.push_back(empty_batch(sequence_length));
      const uint64_t window = order(i);
      TRAINHOST_CHECK(packing.append(window, document_mask, {source, 0, window}, batches.back()));
    }
    for (TokenBatch &batch : batches) finish_batch(batch);
    return batches;
  }

  SampleId sample(const Segment &segment, uint32_t source, uint64_t ordinal) const {
    const ReadingPosition place = segment.start[source].after(ordinal);
    const Permutation order(place.windows, seed, random_stream(RandomPurpose::kShuffle, source), place.epoch);
    return {source, place.epoch, order(place.window)};
  }
};

SampleStream::~SampleStream() = default;

Result<std::unique_ptr<SampleStream>> SampleStream::create(const Recipe &recipe, const TokenAxis &axis, const PreparedData &data,
                                                           const DatasetMixer &mixer) {
  auto stream = std::unique_ptr<SampleStream>(new SampleStream);
  stream->state_ = std::make_unique<State>(State{&axis, &data, &mixer, recipe.run.seed, recipe.packing.document_mask, {}, {}, {}});
  State &state = *stream->state_;
  std::vector<ReadingPosition> position(data.sources.size());
  for (size_t i = 0; i < axis.phases().size(); ++i) {
    const PhaseSpan &span = axis.phases()[i];
    Segment phase{.phase = &span, .first_step = span.first_step, .mix = {}, .packings = {}, .start = {}};
    phase.mix.phase = static_cast<uint32_t>(i);
    phase.mix.samples = (span.end_step - span.first_step) * span.sequences;
    for (const Packing &packing : state.pack(recipe, span.sequence_length)) {
      phase.packings.push_back(&packing);
      phase.mix.windows.push_back(packing.windows());
    }
    phase.mix.weights = phase_weights(recipe, i);
    TRAINHOST_CHECK(check_windows(recipe, i, phase.mix, span.sequences, span.sequence_length));
    phase.start_from(position);
    TRAINHOST_TRY(position, state.positions(phase, phase.mix.samples));
    state.phases.push_back(std::move(phase));
  }
  return stream;
}

void SampleStream::enter(const std::optional<MixRound> &round) {
  state_->round.reset();
  if (!round) return;
  Segment segment = state_->at(round->first_step);
  segment.first_step = round->first_step;
  segment.mix.weights = round->weights;
  segment.mix.samples = (round->end_step - round->first_step) * segment.phase->sequences;
  segment.start_from(round->start);
  state_->round = std::move(segment);
}

Result<StepBatch> SampleStream::step(uint64_t step, Share share) const {
  const Segment &segment = state_->at(step);
  const PhaseSpan &span = *segment.phase;
  for (const PreparedSource &source : state_->data->sources) TRAINHOST_CHECK(source.training->check_unchanged());

  std::vector<uint32_t> sources(span.sequences);
  std::vector<uint64_t> ordinals(span.sequences);
  TRAINHOST_CHECK(state_->mixer->plan(segment.mix, (step - segment.first_step) * span.sequences, sources, ordinals));
  StepBatch batch{step, {}};
  for (uint32_t i = 0; i < span.sequences; ++i) {
    if (i / span.micro_batch_sequences % share.of != share.index) continue;
    if (i % span.micro_batch_sequences == 0) batch.micro_batches.push_back(empty_batch(span.sequence_length));
    const SampleId id = state_->sample(segment, sources[i], ordinals[i]);
    TRAINHOST_CHECK(segment.packings[id.source]->append(id.window, state_->document_mask, id, batch.micro_batches.back()));
  }
  for (TokenBatch &micro_batch : batch.micro_batches) finish_batch(micro_batch);
  return batch;
}

std::vector<TokenBatch> SampleStream::held_out(uint32_t source, uint32_t sequence_length, uint64_t max_tokens,
                                               uint32_t micro_batch_sequences) const {
  auto batches = state_->held_out(source, sequence_length, max_tokens, micro_batch_sequences);
  if (batches) return *std::move(batches);
  log_warning(batches.error().message);
  return {};
}

const PhaseMix &SampleStream::mix(uint32_t phase) const { return state_->phases[phase].mix; }

Result<std::vector<ReadingPosition>> SampleStream::positions(uint64_t step) const {
  const Segment &segment = state_->at(step);
  return state_->positions(segment, (step - segment.first_step) * segment.phase->sequences);
}

}  // namespace trainhost
