#include "train/parameter_store.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "base/random.h"
#include "device/thread_pool.h"

namespace trainhost {
namespace {

constexpr size_t kAlignment = 16;  // floats: 64 bytes
constexpr int64_t kPiece = 1 << 16;

size_t aligned(size_t count) { return (count + kAlignment - 1) / kAlignment * kAlignment; }

size_t element_count(std::span<const int64_t> shape) {
  size_t count = 1;
  for (const int64_t extent : shape) count *= static_cast<size_t>(extent);
  return count;
}

std::span<const int64_t> shape_of(const th_parameter_info &info) { return {info.shape, static_cast<size_t>(info.rank)}; }

th_tensor float_view(float *data, const int64_t *shape, size_t rank) {
  return {.data = data,
          .device_type = TH_DEVICE_CPU,
          .device_index = 0,
          .rank = static_cast<int32_t>(rank),
          .dtype_code = TH_DTYPE_FLOAT,
          .dtype_bits = 32,
          .dtype_lanes = 1,
          .shape = const_cast<int64_t *>(shape),
          .strides = nullptr,
          .byte_offset = 0};
}

void fill(std::span<float> values, float value) {
  parallel_for(static_cast<int64_t>(values.size()), kPiece,
               [&](int64_t begin, int64_t end) { std::fill(values.begin() + begin, values.begin() + end, value); });
}

}  // namespace

Result<ParameterStore> ParameterStore::create(const Model &model, const Optimizer *optimizer) try {
  ParameterStore store;
  store.lay_out(model);
  if (optimizer != nullptr) TRAINHOST_CHECK(store.lay_out_states(*optimizer));
  store.make_views(model);
  return store;
} catch (const std::bad_alloc &) {
  return failure(ErrorKind::kInternal, "not enough memory for the parameters, gradients and optimizer states of the model");
}

void ParameterStore::lay_out(const Model &model) {
  for (const th_parameter_info &info : model.parameters()) {
    entries_.push_back({.info = info, .count = element_count(shape_of(info)), .states = {}, .state_views = {}});
    elements_ += entries_.back().count;
  }
  std::vector<bool> placed(entries_.size());
  size_t offset = 0;
  for (const th_unit_info &unit : model.units()) {
    for (const uint32_t index : std::span(unit.parameters, unit.parameter_count)) {
      if (placed[index]) continue;
      placed[index] = true;
      entries_[index].offset = offset;
      offset += aligned(entries_[index].count);
    }
  }
  parameters_ = Buffer<float>(offset);
  fill(parameters_.items(), 0);
}

Result<> ParameterStore::lay_out_states(const Optimizer &optimizer) {
  gradients_ = Buffer<float>(parameters_.size());
  fill(gradients_.items(), 0);
  size_t offset = 0;
  std::vector<double> initial;
  for (Entry &entry : entries_) {
    TRAINHOST_TRY(const auto described, optimizer.describe_states(entry.info));
    for (const OptimizerState &state : described) {
      const auto shape = shape_of(entry.info);
      State placed{
          .name = state.name, .shape = state.like_parameter ? std::vector(shape.begin(), shape.end()) : state.shape, .offset = offset};
      placed.count = element_count(placed.shape);
      offset += aligned(placed.count);
      entry.states.push_back(std::move(placed));
      initial.push_back(state.initial);
    }
  }
  states_ = Buffer<float>(offset);
  fill(states_.items(), 0);
  auto value = initial.begin();
  for (const Entry &entry : entries_) {
    for (const State &state : entry.states) fill(states_.items().subspan(state.offset, state.count), static_cast<float>(*value++));
  }
  return {};
}

void ParameterStore::make_views(const Model &model) {
  const bool trains = gradients_.size() > 0;
  for (Entry &entry : entries_) {
    for (const State &state : entry.states) {
      entry.state_views.push_back(float_view(states_.data() + state.offset, state.shape.data(), state.shape.size()));
    }
    if (!trains) continue;
    const auto rank = static_cast<size_t>(entry.info.rank);
    updates_.push_back({.info = &entry.info,
                        .master = float_view(parameters_.data() + entry.offset, entry.info.shape, rank),
                        .gradient = float_view(gradients_.data() + entry.offset, entry.info.shape, rank),
                        .compute_copy = float_view(nullptr, entry.info.shape, rank),
                        .states = entry.state_views.data(),
                        .learning_rate = 0,
                        .weight_decay_multiplier = 0});
  }
  for (const th_unit_info &info : model.units()) {
    Unit unit;
    unit.indices.assign(info.parameters, info.parameters + info.parameter_count);
    for (const uint32_t index : unit.indices) {
      Entry &entry = entries_[index];
      const auto rank = static_cast<size_t>(entry.info.rank);
      unit.parameters.push_back(float_view(parameters_.data() + entry.offset, entry.info.shape, rank));
      if (trains) unit.gradients.push_back(float_view(gradients_.data() + entry.offset, entry.info.shape, rank));
    }
    unit.modes.resize(unit.indices.size());
    units_.push_back(std::move(unit));
  }
}

void ParameterStore::initialise(uint64_t seed) {
  for (size_t index = 0; index < entries_.size(); ++index) {
    const Entry &entry = entries_[index];
    const auto values = parameters_.items().subspan(entry.offset, entry.count);
    const auto mean = static_cast<float>(entry.info.init_mean), deviation = static_cast<float>(entry.info.init_std);
    const uint64_t stream = random_stream(RandomPurpose::kInitialisation, index);
    parallel_for(static_cast<int64_t>(values.size()), kPiece, [&](int64_t begin, int64_t end) {
      const auto piece = values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      if (deviation == 0) return std::fill(piece.begin(), piece.end(), mean);
      fill_normal(seed, stream, static_cast<uint64_t>(begin), piece);
      for (float &value : piece) value = mean + deviation * value;
    });
  }
}

const uint32_t *ParameterStore::gradient_modes(uint32_t unit) {
  Unit &u = units_[unit];
  for (size_t i = 0; i < u.indices.size(); ++i) {
    u.modes[i] = entries_[u.indices[i]].has_gradient ? TH_GRADIENT_ADD : TH_GRADIENT_OVERWRITE;
  }
  for (const uint32_t index : u.indices) entries_[index].has_gradient = true;
  return u.modes.data();
}

void ParameterStore::reset_gradients() {
  for (Entry &entry : entries_) entry.has_gradient = false;
}

double ParameterStore::gradient_norm() const {
  const auto values = gradients_.items();
  const auto pieces = static_cast<int64_t>((values.size() + kPiece - 1) / kPiece);
  std::vector<double> sums(static_cast<size_t>(pieces));
  parallel_for(pieces, 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece) {
      const auto part = values.subspan(static_cast<size_t>(piece * kPiece))
                            .first(std::min<size_t>(kPiece, values.size() - static_cast<size_t>(piece * kPiece)));
      double lanes[8] = {};  // eight sums side by side, so that the compiler can use vectors without changing the order of addition
      for (size_t i = 0; i < part.size(); ++i) lanes[i % 8] += double{part[i]} * part[i];
      for (const double lane : lanes) sums[static_cast<size_t>(piece)] += lane;
    }
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return std::sqrt(sum);
}

std::span<const th_update> ParameterStore::updates(double learning_rate, double weight_decay_multiplier) {
  for (th_update &update : updates_) {
    update.learning_rate = learning_rate * update.info->lr_scale;
    update.weight_decay_multiplier = update.info->weight_decay != 0 ? weight_decay_multiplier : 0;
  }
  return updates_;
}

std::vector<NamedTensor> ParameterStore::tensors() {
  std::vector<NamedTensor> tensors;
  for (Entry &entry : entries_) {
    const std::string name(entry.info.name.data, entry.info.name.length);
    const auto shape = shape_of(entry.info);
    tensors.push_back({"model." + name, {shape.begin(), shape.end()}, parameters_.items().subspan(entry.offset, entry.count)});
    for (const State &state : entry.states) {
      tensors.push_back({"optimizer." + name + "." + state.name, state.shape, states_.items().subspan(state.offset, state.count)});
    }
  }
  return tensors;
}

}  // namespace trainhost
