#include "data/sample_stream.h"

#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/log.h"
#include "base/random.h"
#include "data/mix_pieces.h"
#include "data/packing.h"
#include "data/permutation.h"

namespace trainhost {
namespace {

// Held-out windows come in an order that no run changes.
constexpr uint64_t kHeldOutSeed = 0;

// Steps with one mix, a phase, a piece of one whose mix moves, or a round: as the mixer sees it, with where each source stands when it
// begins.
struct Segment {
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

Result<> check_windows(const Recipe &recipe, const PhaseMix &mix, const StepShape &shape) {
  uint64_t available = 0;
  for (size_t i = 0; i < mix.weights.size(); ++i) {
    if (mix.weights[i] <= 0) continue;
    if (mix.windows[i] == 0) {
      return failure(
          ErrorKind::kData,
          fmt::format(
              "source \"{}\" has a share in phase \"{}\" but not one window of {} tokens; give it more text or a shorter sequence_length",
              recipe.sources[i].name, recipe.phases[mix.phase].name, shape.sequence_length));
    }
    available += mix.windows[i];
  }
  if (available < shape.sequences) {
    return failure(ErrorKind::kData, fmt::format("the sources of phase \"{}\" have {} windows of {} tokens together; one batch takes {}: "
                                                 "give them more text or make the batch smaller",
                                                 recipe.phases[mix.phase].name, available, shape.sequence_length, shape.sequences));
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
  const Recipe *recipe;
  const TokenAxis *axis;
  const PreparedData *data;
  const DatasetMixer *mixer;
  uint64_t seed;
  std::map<uint32_t, std::vector<Packing>> packings;  // sequence length -> one per source
  std::vector<Segment> segments;                      // that tile the steps
  std::optional<Segment> round;                       // takes their place

  const Segment &planned_at(uint64_t step) const { return *std::prev(std::ranges::upper_bound(segments, step, {}, &Segment::first_step)); }
  const Segment &at(uint64_t step) const { return round ? *round : planned_at(step); }

  const std::vector<Packing> &pack(uint32_t sequence_length) {
    auto [entry, absent] = packings.try_emplace(sequence_length);
    if (absent) {
      for (const PreparedSource &source : data->sources) {
        entry->second.emplace_back(*source.training, Packing::mode(recipe->packing.mode), sequence_length);
      }
    }
    return entry->second;
  }

  // Lays out the segments of all phases one after the other.
  Result<> lay_out() {
    segments.clear();
    std::vector<ReadingPosition> position(data->sources.size());
    for (uint32_t phase = 0; phase < axis->phases().size(); ++phase) {
      for (const MixPiece &piece : mix_pieces(*recipe, *axis, phase)) {
        TRAINHOST_TRY(Segment segment, make(phase, piece));
        segment.start_from(position);
        TRAINHOST_TRY(position, positions(segment, piece.end_step));
        segments.push_back(std::move(segment));
      }
    }
    return {};
  }

  Result<Segment> make(uint32_t phase, const MixPiece &piece) {
    const PhaseSpan &span = axis->phases()[phase];
    Segment segment{.first_step = piece.first_step, .mix = {}, .packings = {}, .start = {}};
    segment.mix.phase = phase;
    segment.mix.weights = piece.weights;
    segment.mix.samples = samples_of(span, piece.first_step, piece.end_step);
    for (const Packing &packing : pack(span.sequence_length)) {
      segment.packings.push_back(&packing);
      segment.mix.windows.push_back(packing.windows());
    }
    TRAINHOST_CHECK(check_windows(*recipe, segment.mix, largest_step(phase)));
    return segment;
  }

  Packing::Masks masks(uint32_t phase) const {
    return {.document = recipe->packing.document_mask, .loss = recipe->phases[phase].overrides.loss_on != "all"};
  }

  StepShape largest_step(uint32_t phase) const {
    StepShape largest;
    for (const StepShape &shape : axis->possible_shapes())
      if (shape.phase == phase && shape.sequences > largest.sequences) largest = shape;
    return largest;
  }

  // What a mixer may go by must not change with a batch that grows later.
  uint64_t samples_of(const PhaseSpan &phase, uint64_t first_step, uint64_t end_step) const {
    return phase.grows_by_itself ? phase.samples : axis->samples_between(first_step, end_step);
  }

  // Where the sources stand before a step, which is in the segment or the first after it.
  Result<std::vector<ReadingPosition>> positions(const Segment &segment, uint64_t step) const {
    const uint64_t samples = axis->samples_between(segment.first_step, step);
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
      TRAINHOST_CHECK(packing.append(window, {.document = recipe->packing.document_mask}, {source, 0, window}, batches.back()));
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
  stream->state_ = std::make_unique<State>(State{&recipe, &axis, &data, &mixer, recipe.run.seed, {}, {}, {}});
  TRAINHOST_CHECK(stream->state_->lay_out());
  return stream;
}

Result<> SampleStream::follow_axis() {
  state_->round.reset();
  return state_->lay_out();
}

void SampleStream::enter(const std::optional<MixRound> &round) {
  state_->round.reset();
  if (!round) return;
  const PhaseSpan &phase = state_->axis->phases()[state_->axis->phase_of_step(round->first_step)];
  Segment segment = state_->at(round->first_step);
  segment.first_step = round->first_step;
  segment.mix.weights = round->weights;
  segment.mix.samples = state_->samples_of(phase, round->first_step, round->end_step);
  segment.start_from(round->start);
  state_->round = std::move(segment);
}

Result<StepBatch> SampleStream::step(uint64_t step, Share share) const {
  const Segment &segment = state_->at(step);
  const StepShape &shape = state_->axis->shape_of_step(step);
  for (const PreparedSource &source : state_->data->sources) TRAINHOST_CHECK(source.training->check_unchanged());

  std::vector<uint32_t> sources(shape.sequences);
  std::vector<uint64_t> ordinals(shape.sequences);
  TRAINHOST_CHECK(state_->mixer->plan(segment.mix, state_->axis->samples_between(segment.first_step, step), sources, ordinals));
  const Packing::Masks masks = state_->masks(shape.phase);
  StepBatch batch{step, {}};
  for (uint32_t i = 0; i < shape.sequences; ++i) {
    if (i / shape.micro_batch_sequences % share.of != share.index) continue;
    if (i % shape.micro_batch_sequences == 0) batch.micro_batches.push_back(empty_batch(shape.sequence_length));
    const SampleId id = state_->sample(segment, sources[i], ordinals[i]);
    TRAINHOST_CHECK(segment.packings[id.source]->append(id.window, masks, id, batch.micro_batches.back()));
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

const PhaseMix &SampleStream::mix(uint64_t step) const { return state_->planned_at(step).mix; }

Result<std::vector<ReadingPosition>> SampleStream::positions(uint64_t step) const { return state_->positions(state_->at(step), step); }

}  // namespace trainhost
