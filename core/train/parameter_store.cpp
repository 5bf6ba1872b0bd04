#include "train/parameter_store.h"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "base/random.h"
#include "device/thread_pool.h"
#include "train/gradient_store.h"

namespace trainhost {
namespace {

constexpr int64_t kFillPiece = 1 << 16;

std::string_view view(th_string text) { return {text.data, text.length}; }
std::span<const int64_t> shape_of(const th_parameter_info &info) { return {info.shape, static_cast<size_t>(info.rank)}; }

th_tensor view_on(const Device &device, void *data, const int64_t *shape, size_t rank, bool bfloat16 = false) {
  return {.data = data,
          .device_type = device.type(),
          .device_index = device.index(),
          .rank = static_cast<int32_t>(rank),
          .dtype_code = static_cast<uint8_t>(bfloat16 ? TH_DTYPE_BFLOAT : TH_DTYPE_FLOAT),
          .dtype_bits = static_cast<uint8_t>(bfloat16 ? 16 : 32),
          .dtype_lanes = 1,
          .shape = const_cast<int64_t *>(shape),
          .strides = nullptr,
          .byte_offset = 0};
}

FloatRange intersection(FloatRange a, FloatRange b) {
  const size_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

// values[i] = element first + i of the parameter's initial distribution.
void initialise_piece(uint64_t seed, size_t index, const th_parameter_info &info, uint64_t first, std::span<float> values) {
  const auto mean = static_cast<float>(info.init_mean), deviation = static_cast<float>(info.init_std);
  const uint64_t stream = random_stream(RandomPurpose::kInitialisation, index);
  parallel_for(static_cast<int64_t>(values.size()), kFillPiece, [&](int64_t begin, int64_t end) {
    const auto piece = values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    if (deviation == 0) return std::fill(piece.begin(), piece.end(), mean);
    fill_normal(seed, stream, first + static_cast<uint64_t>(begin), piece);
    for (float &value : piece) value = mean + deviation * value;
  });
}

}  // namespace

Result<ParameterStore> ParameterStore::create(const Model &model, const Optimizer *optimizer, const Spread &spread) try {
  ParameterStore store(model, spread, optimizer != nullptr ? optimizer->granularity() : TH_GRANULARITY_ELEMENT);
  if (optimizer != nullptr) {
    store.find_pieces();
    TRAINHOST_CHECK(store.lay_out_states(*optimizer));
    TRAINHOST_TRY(const uint64_t workspace, optimizer->workspace_bytes(store.updated_parameters()));
    store.reserve_workspace(workspace);
    store.make_updates();
  }
  return store;
} catch (const std::bad_alloc &) {
  return failure(ErrorKind::kInternal, "not enough memory for the parameters and optimizer states of the model");
}

ParameterStore::ParameterStore(const Model &model, const Spread &spread, int32_t granularity)
    : model_(&model), spread_(spread), layout_(model, spread.units, spread.data->size(), granularity) {
  if (spread_.data->size() == 1) spread_.sharding = Sharding::kNone;  // one rank holds everything in any case
  size_t offset = 0, master_offset = 0;
  for (uint32_t group = 0; group < layout_.groups().size(); ++group) {
    held_offsets_.push_back(offset);
    master_offsets_.push_back(master_offset);
    offset += aligned(spread_.compute.floats_for(held(group).size()));
    master_offset += aligned(mastered(group).size());
    auto &cuts = compute_cuts_.emplace_back();
    for (const size_t cut : layout_.groups()[group].cuts) cuts.push_back(spread_.compute.floats_for(cut));
  }
  computed_ = Buffer<float>(device(), offset);
  device().fill(computed_.data(), 0, offset);
  if (spread_.compute.bfloat16) {
    masters_ = Buffer<float>(device(), master_offset);
    device().fill(masters_.data(), 0, master_offset);
  }
  gathered_.resize(layout_.groups().size());
  for (const th_parameter_info &info : model.parameters()) elements_ += element_count(info);
  unit_tensors_.resize(model.units().size());
  for (uint32_t unit = spread.units.begin; unit < spread.units.end; ++unit) {
    const th_unit_info &info = model.units()[unit];
    for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
      const th_parameter_info &parameter = model.parameters()[index];
      const Placement &place = layout_.placement(index);
      void *data = cuts_parameters() ? nullptr : computed_at(place.group, place.begin);
      unit_tensors_[unit].push_back(
          view_on(device(), data, parameter.shape, static_cast<size_t>(parameter.rank), spread_.compute.bfloat16));
    }
  }
}

std::byte *ParameterStore::computed_at(uint32_t group, size_t at) {
  return reinterpret_cast<std::byte *>(computed_.data() + held_offsets_[group]) +
         (at - held(group).begin) * spread_.compute.bytes_per_item();
}

std::byte *ParameterStore::whole_at(uint32_t group, size_t at) {
  if (!cuts_parameters()) return computed_at(group, at);
  return reinterpret_cast<std::byte *>(gathered_[group].whole.data()) + at * spread_.compute.bytes_per_item();
}

float *ParameterStore::master_at(uint32_t group, size_t at) {
  if (!spread_.compute.bfloat16) return reinterpret_cast<float *>(computed_at(group, at));
  return masters_.data() + master_offsets_[group] + (at - mastered(group).begin);
}

FloatRange ParameterStore::held(uint32_t group) const {
  const ParameterGroup &placed = layout_.groups()[group];
  return cuts_parameters() ? placed.piece(spread_.data->rank()) : FloatRange{0, placed.size};
}

FloatRange ParameterStore::mastered(uint32_t group) const { return spread_.compute.bfloat16 ? updated(group) : held(group); }

FloatRange ParameterStore::updated(uint32_t group) const {
  const ParameterGroup &placed = layout_.groups()[group];
  return spread_.sharding == Sharding::kNone ? FloatRange{0, placed.size} : placed.piece(spread_.data->rank());
}

void ParameterStore::find_pieces() {
  for (uint32_t group = 0; group < layout_.groups().size(); ++group) {
    if (borrowed(group)) continue;
    for (const uint32_t index : layout_.groups()[group].parameters) {
      const Placement &place = layout_.placement(index);
      const FloatRange range = intersection({place.begin, place.end}, updated(group));
      if (range.size() == 0) continue;
      pieces_.push_back({.parameter = index,
                         .group = group,
                         .range = range,
                         .length = static_cast<int64_t>(range.size()),
                         .states = {},
                         .state_views = {}});
    }
  }
}

Result<> ParameterStore::lay_out_states(const Optimizer &optimizer) {
  size_t offset = 0;
  std::vector<double> initial;
  for (Piece &piece : pieces_) {
    const th_parameter_info &info = model_->parameters()[piece.parameter];
    const Placement &place = layout_.placement(piece.parameter);
    const auto shape = shape_of(info);
    TRAINHOST_TRY(const auto described, optimizer.describe_states(info));
    for (const OptimizerState &state : described) {
      if (!state.like_parameter && piece.range.size() < element_count(info)) {
        return failure(
            ErrorKind::kPluginContract,
            fmt::format("parameter \"{}\" is cut over processes, but its optimizer state \"{}\" has a shape of its own; the optimizer "
                        "must say that it works on whole tensors (TH_GRANULARITY_TENSOR), or use sharding = \"none\"",
                        view(info.name), state.name));
      }
      State placed{.name = state.name,
                   .shape = state.like_parameter ? std::vector(shape.begin(), shape.end()) : state.shape,
                   .like_parameter = state.like_parameter,
                   .type = state.type,
                   .offset = offset,
                   .begin = state.like_parameter ? piece.range.begin - place.begin : 0,
                   .count = state.element_count(piece.range.size())};
      offset += aligned(floats_for(placed.type, placed.count));
      piece.states.push_back(std::move(placed));
      initial.push_back(state.initial);
    }
  }
  states_ = Buffer<float>(device(), offset);
  device().fill(states_.data(), 0, offset);
  auto value = initial.begin();
  for (const Piece &piece : pieces_) {
    for (const State &state : piece.states) begin_with(*value++, state);
  }
  return {};
}

void ParameterStore::begin_with(double value, const State &state) {
  const auto number = static_cast<float>(value);
  float *const data = states_.data() + state.offset;
  if (state.type == ElementType::kFloat32) return device().fill(data, number, state.count);
  uint16_t rounded = 0;
  cpu_device().round_to_bfloat16(&rounded, &number, 1);
  const auto pair = std::bit_cast<float>(uint32_t{rounded} << 16 | rounded);
  device().fill(data, pair, floats_for(state.type, state.count));
}

std::vector<const th_parameter_info *> ParameterStore::updated_parameters() const {
  std::vector<const th_parameter_info *> infos;
  for (const Piece &piece : pieces_) infos.push_back(&model_->parameters()[piece.parameter]);
  return infos;
}

void ParameterStore::make_updates() {
  for (Piece &piece : pieces_) {
    const th_parameter_info &info = model_->parameters()[piece.parameter];
    const bool whole = piece.range.size() == element_count(info);
    const int64_t *shape = whole ? info.shape : &piece.length;
    const size_t rank = whole ? static_cast<size_t>(info.rank) : 1;
    for (const State &state : piece.states) {
      float *data = states_.data() + state.offset;
      const bool bfloat16 = state.type == ElementType::kBfloat16;
      piece.state_views.push_back(state.like_parameter ? view_on(device(), data, shape, rank, bfloat16)
                                                       : view_on(device(), data, state.shape.data(), state.shape.size(), bfloat16));
    }
    void *copy = spread_.compute.bfloat16 ? computed_at(piece.group, piece.range.begin) : nullptr;
    updates_.push_back({.info = &info,
                        .master = view_on(device(), master_at(piece.group, piece.range.begin), shape, rank),
                        .gradient = view_on(device(), nullptr, shape, rank),
                        .compute_copy = view_on(device(), copy, shape, rank, true),
                        .states = piece.state_views.data(),
                        .learning_rate = 0,
                        .weight_decay_multiplier = 0});
  }
}

// Items of the range from their float32 values, which the host has.
void ParameterStore::set_values(uint32_t group, FloatRange range, const float *host_values) {
  if (!spread_.compute.bfloat16) return device().upload(computed_at(group, range.begin), host_values, range.size() * sizeof(float));
  Buffer<float> values(device(), range.size());
  device().upload(values.data(), host_values, range.size() * sizeof(float));
  device().round_to_bfloat16(reinterpret_cast<uint16_t *>(computed_at(group, range.begin)), values.data(), range.size());
  const FloatRange own = intersection(range, mastered(group));
  if (own.size() == 0) return;
  device().copy(master_at(group, own.begin), values.data() + (own.begin - range.begin), own.size() * sizeof(float));
}

void ParameterStore::initialise(uint64_t seed) {
  for (uint32_t group = 0; group < layout_.groups().size(); ++group) {
    for (const uint32_t index : layout_.groups()[group].parameters) {
      const Placement &place = layout_.placement(index);
      const FloatRange range = intersection({place.begin, place.end}, held(group));
      const th_parameter_info &info = model_->parameters()[index];
      if (range.size() == 0) continue;
      if (in_place()) {
        initialise_piece(seed, index, info, range.begin - place.begin, {master_at(group, range.begin), range.size()});
        continue;
      }
      Buffer<float> values(range.size());
      initialise_piece(seed, index, info, range.begin - place.begin, values.items());
      set_values(group, range, values.data());
    }
  }
}

void ParameterStore::fetch(uint32_t group) {
  Gathered &gathered = gathered_[group];
  const ParameterGroup &placed = layout_.groups()[group];
  if (gathered.whole.size() > 0) return;
  gathered.whole = Buffer<float>(device(), spread_.compute.floats_for(placed.size));
  const FloatRange own = held(group);
  device().copy(whole_at(group, own.begin), computed_at(group, own.begin), own.size() * spread_.compute.bytes_per_item());
  gathered.pending = spread_.data->all_gather(gathered.whole.items(), compute_cuts_[group]);
}

void ParameterStore::prefetch(uint32_t unit) {
  if (!cuts_parameters()) return;
  for (const uint32_t group : layout_.groups_of(unit)) fetch(group);
}

Result<const th_tensor *> ParameterStore::use(uint32_t unit) {
  prefetch(unit);
  for (const uint32_t group : layout_.groups_of(unit)) {
    Gathered &gathered = gathered_[group];
    ++gathered.uses;
    if (gathered.pending) TRAINHOST_CHECK(std::exchange(gathered.pending, nullptr)->wait());
  }
  if (cuts_parameters()) {
    const th_unit_info &info = model_->units()[unit];
    for (uint32_t i = 0; i < info.parameter_count; ++i) {
      const Placement &place = layout_.placement(info.parameters[i]);
      unit_tensors_[unit][i].data = whole_at(place.group, place.begin);
    }
  }
  return unit_tensors_[unit].data();
}

void ParameterStore::release(uint32_t unit) {
  for (const uint32_t group : layout_.groups_of(unit)) {
    Gathered &gathered = gathered_[group];
    if (--gathered.uses == 0) gathered.whole = Buffer<float>();
  }
}

std::span<const th_update> ParameterStore::updates(const GradientStore &gradients, double learning_rate, double weight_decay_multiplier) {
  for (size_t i = 0; i < pieces_.size(); ++i) {
    th_update &update = updates_[i];
    update.gradient.data =
        const_cast<float *>(gradients.reduced(pieces_[i].group) + (pieces_[i].range.begin - updated(pieces_[i].group).begin));
    update.learning_rate = learning_rate * update.info->lr_scale;
    update.weight_decay_multiplier = update.info->weight_decay != 0 ? weight_decay_multiplier : 0;
  }
  return updates_;
}

std::vector<uint32_t> ParameterStore::stages_of(uint32_t group) const {
  std::vector<uint32_t> stages;
  for (const uint32_t user : layout_.groups()[group].users) stages.push_back(spread_.stage_of[user]);
  stages.erase(std::unique(stages.begin(), stages.end()), stages.end());
  return stages;
}

// The owner of a tied parameter sends what it has updated to the other stages that use it.
Result<> ParameterStore::lend_updated() {
  std::vector<std::unique_ptr<Pending>> pending;
  for (uint32_t group = 0; group < layout_.groups().size(); ++group) {
    const std::vector<uint32_t> stages = stages_of(group);
    const auto values = as_floats(computed_at(group, updated(group).begin), updated(group).size());
    if (borrowed(group)) pending.push_back(spread_.ties->receive(values, stages.front()));
    for (size_t i = 1; i < stages.size() && !borrowed(group); ++i) pending.push_back(spread_.ties->send(values, stages[i]));
  }
  for (const auto &one : pending) TRAINHOST_CHECK(one->wait());
  return {};
}

Result<> ParameterStore::share_updated() {
  TRAINHOST_CHECK(lend_updated());
  if (spread_.sharding != Sharding::kOptimizer && spread_.sharding != Sharding::kGradients) return {};
  for (uint32_t group = 0; group < layout_.groups().size(); ++group) {
    const ParameterGroup &placed = layout_.groups()[group];
    gathered_[group].pending = spread_.data->all_gather(as_floats(computed_at(group, 0), placed.size), compute_cuts_[group]);
  }
  return {};
}

// Whoever changes parameters must not do so while others fetch them.
Result<> ParameterStore::wait_for_shared() {
  for (Gathered &gathered : gathered_) {
    if (gathered.pending) TRAINHOST_CHECK(std::exchange(gathered.pending, nullptr)->wait());
  }
  return {};
}

Result<> ParameterStore::move_to(ParameterPoint point, Optimizer &optimizer) {
  TRAINHOST_CHECK(wait_for_shared());
  for (th_update &update : updates_) {
    update.gradient.data = nullptr;
    update.learning_rate = update.weight_decay_multiplier = 0;
  }
  TRAINHOST_CHECK(optimizer.move_to(point, updates_, device().stream()));
  return share_updated();
}

// A parameter's float32 values in the host's memory.
std::span<float> ParameterStore::staged_parameter(uint32_t group, FloatRange range, bool to_save) {
  if (in_place()) return {master_at(group, range.begin), range.size()};
  Staged &staged = staged_.emplace_back(Staged{.values = Buffer<float>(range.size()), .group = group, .range = range});
  if (to_save) device().download(staged.values.data(), master_at(group, range.begin), range.size() * sizeof(float));
  return staged.values.items();
}

ElementSpan ParameterStore::staged_state(const State &state, bool to_save) {
  const ElementSpan own = elements(state);
  if (device().type() == TH_DEVICE_CPU) return own;
  const auto bytes = own.bytes();
  Staged &staged = staged_.emplace_back(Staged{
      .values = Buffer<float>(floats_for(state.type, state.count)), .state = bytes.data(), .state_bytes = bytes.size(), .range = {}});
  if (to_save) device().download(staged.values.data(), bytes.data(), bytes.size());
  return {state.type, reinterpret_cast<std::byte *>(staged.values.data()), state.count};
}

std::vector<NamedTensor> ParameterStore::tensors(bool to_save) {
  staged_.clear();
  std::vector<NamedTensor> tensors;
  const bool all_ranks_hold_all = spread_.sharding == Sharding::kNone;
  if (to_save && all_ranks_hold_all && spread_.data->rank() > 0) return tensors;
  for (uint32_t group = 0; group < layout_.groups().size(); ++group) {
    if (to_save && borrowed(group)) continue;
    for (const uint32_t index : layout_.groups()[group].parameters) {
      const th_parameter_info &info = model_->parameters()[index];
      const Placement &place = layout_.placement(index);
      const FloatRange range = intersection({place.begin, place.end}, to_save ? updated(group) : held(group));
      if (range.size() == 0) continue;
      const auto shape = shape_of(info);
      tensors.push_back({.name = "model." + std::string(view(info.name)),
                         .shape = {shape.begin(), shape.end()},
                         .values = staged_parameter(group, range, to_save),
                         .begin = range.begin - place.begin});
    }
  }
  for (const Piece &piece : pieces_) {
    const std::string name(view(model_->parameters()[piece.parameter].name));
    for (const State &state : piece.states) {
      tensors.push_back({.name = "optimizer." + name + "." + state.name,
                         .shape = state.shape,
                         .values = staged_state(state, to_save),
                         .begin = state.begin});
    }
  }
  return tensors;
}

std::vector<NamedTensor> ParameterStore::tensors_to_save() { return tensors(true); }
std::vector<NamedTensor> ParameterStore::tensors_to_load() { return tensors(false); }

void ParameterStore::loaded() {
  for (const Staged &staged : staged_) {
    if (staged.state != nullptr) {
      device().upload(staged.state, staged.values.data(), staged.state_bytes);
    } else {
      set_values(staged.group, staged.range, staged.values.data());
    }
  }
  staged_.clear();
}

}  // namespace trainhost
