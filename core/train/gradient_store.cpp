#include "train/gradient_store.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace trainhost {
namespace {

bool share_parameters(const Model &model, const std::vector<uint32_t> &stage_of) {
  std::vector<std::optional<uint32_t>> stages(model.parameters().size());
  for (uint32_t unit = 0; unit < model.units().size(); ++unit) {
    const th_unit_info &info = model.units()[unit];
    for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
      if (stages[index].value_or(stage_of[unit]) != stage_of[unit]) return true;
      stages[index] = stage_of[unit];
    }
  }
  return false;
}

}  // namespace

GradientStore::GradientStore(const Model &model, const ParameterStore &parameters, Reduction reduction)
    : model_(&model),
      parameters_(&parameters),
      reduction_(reduction),
      stages_share_parameters_(share_parameters(model, parameters.spread().stage_of)) {
  const ParameterLayout &layout = parameters.layout();
  for (uint32_t group = 0; group < layout.groups().size(); ++group)
    groups_.emplace_back(device()).sum = Buffer<float>(device(), summed(group).size());
  unit_tensors_.resize(model.units().size());
  unit_modes_.resize(model.units().size());
  for (uint32_t unit = parameters.spread().units.begin; unit < parameters.spread().units.end; ++unit) {
    const th_unit_info &info = model.units()[unit];
    for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
      const th_parameter_info &parameter = model.parameters()[index];
      unit_tensors_[unit].push_back({.data = nullptr,
                                     .device_type = device().type(),
                                     .device_index = device().index(),
                                     .rank = parameter.rank,
                                     .dtype_code = TH_DTYPE_FLOAT,
                                     .dtype_bits = 32,
                                     .dtype_lanes = 1,
                                     .shape = const_cast<int64_t *>(parameter.shape),
                                     .strides = nullptr,
                                     .byte_offset = 0});
    }
    unit_modes_[unit].resize(info.parameter_count);
  }
}

bool GradientStore::reduces_each_micro_batch() const {
  return reduction_ == Reduction::kFixed || parameters_->spread().sharding >= Sharding::kGradients;
}

FloatRange GradientStore::own(uint32_t group) const {
  return parameters_->layout().groups()[group].piece(parameters_->spread().data->rank());
}

FloatRange GradientStore::summed(uint32_t group) const {
  if (reduces_each_micro_batch()) return parameters_->updated(group);
  return {0, parameters_->layout().groups()[group].size};
}

const float *GradientStore::reduced(uint32_t group) const {
  return groups_[group].sum.data() + (parameters_->updated(group).begin - summed(group).begin);
}

void GradientStore::begin_step(std::span<const TokenBatch> micro_batches) {
  micro_batches_ = static_cast<uint32_t>(micro_batches.size());
  done_ = 0;
  for (Group &group : groups_) group.has_sum = false;
  micro_batch_sums_ = {};
  weights_.clear();
  if (!measures_) return;
  for (const TokenBatch &micro_batch : micro_batches) weights_.push_back(micro_batch.weight());
  if (parameters_->spread().stages->rank() > 0) return;  // the stages have the same micro-batches
  for (uint32_t i = 0; i < weights_.size(); ++i) {
    micro_batch_sums_.weight.add(weights_[i]);
    if (!shows(i)) continue;
    micro_batch_sums_.measured.add(1);
    micro_batch_sums_.inverse_weights.add(1 / weights_[i]);
  }
}

// Whether the gradient of this micro-batch alone is ever to be seen, and counts.
bool GradientStore::shows(uint32_t micro_batch) const {
  if (!measures_ || weights_[micro_batch] == 0) return false;
  return reduces_each_micro_batch() || (micro_batch == 0 && !stages_share_parameters_);
}

void GradientStore::measure(uint32_t group, const float *gradient) {
  if (!shows(done_)) return;
  const ParameterLayout &layout = parameters_->layout();
  const auto blocks = layout.blocks(group, {0, layout.groups()[group].size});
  std::vector<double> squares(blocks.size());
  device().sum_squares(gradient, blocks, squares);
  for (const double square : squares) micro_batch_sums_.squares.add(square / (weights_[done_] * weights_[done_]));
}

// Where the unit's gradient of a group goes. With the fixed order each user of a tied parameter has a place of its own, so that they
// are added in the order of the units whatever is computed first, and wherever.
float *GradientStore::place(uint32_t unit, uint32_t group) {
  if (!reduces_each_micro_batch()) return groups_[group].sum.data();
  const ParameterGroup &placed = parameters_->layout().groups()[group];
  const size_t places = reduction_ == Reduction::kFixed ? placed.users.size() : 1;
  auto &now = groups_[group].now;
  now.resize(places);
  const auto user = static_cast<size_t>(std::ranges::find(placed.users, unit) - placed.users.begin());
  Buffer<float> &buffer = now[places > 1 ? user : 0];
  if (buffer.size() == 0) buffer = Buffer<float>(device(), placed.size);
  return buffer.data();
}

bool GradientStore::adds(uint32_t group) const {
  const Group &sums = groups_[group];
  if (reduction_ == Reduction::kFixed) return false;
  return sums.finished_users > 0 || (!reduces_each_micro_batch() && sums.has_sum);
}

GradientStore::Target GradientStore::target(uint32_t unit) {
  const th_unit_info &info = model_->units()[unit];
  for (uint32_t i = 0; i < info.parameter_count; ++i) {
    const Placement &at = parameters_->layout().placement(info.parameters[i]);
    unit_tensors_[unit][i].data = place(unit, at.group) + at.begin;
    unit_modes_[unit][i] = adds(at.group) ? TH_GRADIENT_ADD : TH_GRADIENT_OVERWRITE;
  }
  return {unit_tensors_[unit].data(), unit_modes_[unit].data()};
}

Result<> GradientStore::finished(uint32_t unit) {
  for (const uint32_t group : parameters_->layout().groups_of(unit)) {
    if (++groups_[group].finished_users < users_here(group)) continue;
    groups_[group].finished_users = 0;
    TRAINHOST_CHECK(group_finished(group));
  }
  if (unit == parameters_->spread().units.begin) ++done_;
  return {};
}

// All users of the group have done their backward of this micro-batch.
Result<> GradientStore::group_finished(uint32_t group) {
  const ParameterGroup &placed = parameters_->layout().groups()[group];
  ProcessGroup &ranks = *parameters_->spread().data;
  Group &sums = groups_[group];
  const bool last_micro_batch = done_ + 1 == micro_batches_;
  Exchange exchange{.group = group, .sent = {}, .received = {}, .pending = nullptr};
  std::span<const float> sent = sums.sum.items();
  if (reduces_each_micro_batch()) {
    if (parameters_->borrowed(group)) return give_back(group);
    TRAINHOST_CHECK(collect_lent(group));
    for (size_t user = 1; user < sums.now.size(); ++user) device().add(sums.now[0].data(), sums.now[user].data(), placed.size);
    measure(group, sums.now[0].data());
    exchange.sent = std::move(sums.now[0]);
    sums.now.clear();
    if (ranks.size() == 1) {
      sums.tree.add(std::move(exchange.sent));
      return {};
    }
    sent = exchange.sent.items();
  } else {
    sums.has_sum = true;
    measure(group, sums.sum.data());
    if (!last_micro_batch) return {};
    if (parameters_->borrowed(group)) return give_back(group);
    TRAINHOST_CHECK(collect_lent(group));
    if (ranks.size() == 1) return {};
  }
  exchange.received = Buffer<float>(device(), own(group).size() * ranks.size());
  exchange.pending = ranks.exchange(sent, placed.cuts, exchange.received.items());
  exchanges_.push_back(std::move(exchange));
  while (exchanges_.size() > kExchangesAtOnce) TRAINHOST_CHECK(complete_oldest());
  return {};
}

size_t GradientStore::users_here(uint32_t group) const {
  const UnitRange units = parameters_->spread().units;
  return static_cast<size_t>(
      std::ranges::count_if(parameters_->layout().groups()[group].users, [&](uint32_t user) { return units.contains(user); }));
}

// Sends the gradient of a group that another stage owns, in the fixed order one for each user here. Nothing is waited for that the
// owner does only after it has what comes after this.
Result<> GradientStore::give_back(uint32_t group) {
  const Spread &spread = parameters_->spread();
  const uint32_t owner = parameters_->stages_of(group).front();
  Group &sums = groups_[group];
  if (!reduces_each_micro_batch()) {
    given_back_.push_back({.group = group, .sent = {}, .received = {}, .pending = spread.ties->send(sums.sum.items(), owner)});
  }
  for (Buffer<float> &gradient : sums.now) {
    if (gradient.size() == 0) continue;  // of a user elsewhere
    auto pending = spread.ties->send(gradient.items(), owner);
    given_back_.push_back({.group = group, .sent = std::move(gradient), .received = {}, .pending = std::move(pending)});
  }
  sums.now.clear();
  return {};
}

// The owner's side.
Result<> GradientStore::collect_lent(uint32_t group) {
  const Spread &spread = parameters_->spread();
  const ParameterGroup &placed = parameters_->layout().groups()[group];
  Group &sums = groups_[group];
  if (reduction_ == Reduction::kFixed) {
    for (size_t i = 0; i < placed.users.size(); ++i) {
      if (spread.units.contains(placed.users[i])) continue;
      sums.now[i] = Buffer<float>(device(), placed.size);
      TRAINHOST_CHECK(spread.ties->receive(sums.now[i].items(), spread.stage_of[placed.users[i]])->wait());
    }
    return {};
  }
  const std::vector<uint32_t> stages = parameters_->stages_of(group);
  for (size_t i = 1; i < stages.size(); ++i) {
    Buffer<float> lent(device(), placed.size);
    TRAINHOST_CHECK(spread.ties->receive(lent.items(), stages[i])->wait());
    device().add(reduces_each_micro_batch() ? sums.now[0].data() : sums.sum.data(), lent.data(), placed.size);
  }
  return {};
}

Result<> GradientStore::complete_oldest() {
  Exchange exchange = std::move(exchanges_.front());
  exchanges_.pop_front();
  TRAINHOST_CHECK(exchange.pending->wait());
  add_pieces(exchange.group, exchange.received.items());
  return {};
}

// pieces: what each rank gave for this rank's own part, in rank order.
void GradientStore::add_pieces(uint32_t group, std::span<const float> pieces) {
  Group &sums = groups_[group];
  const FloatRange part = own(group);
  const uint32_t ranks = parameters_->spread().data->size();
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const float *piece = pieces.data() + rank * part.size();
    if (reduction_ == Reduction::kFixed) {
      Buffer<float> leaf(device(), part.size());
      device().copy(leaf.data(), piece, part.size() * sizeof(float));
      sums.tree.add(std::move(leaf));
    } else if (rank == 0 && (!reduces_each_micro_batch() || !sums.has_sum)) {
      device().copy(sum_at(group, part.begin), piece, part.size() * sizeof(float));
    } else {
      device().add(sum_at(group, part.begin), piece, part.size());
    }
  }
  sums.has_sum = true;
}

Result<> GradientStore::finish_step() {
  while (!exchanges_.empty()) TRAINHOST_CHECK(complete_oldest());
  for (; !given_back_.empty(); given_back_.pop_front()) TRAINHOST_CHECK(given_back_.front().pending->wait());
  if (reduction_ == Reduction::kFixed) {
    for (uint32_t group = 0; group < groups_.size(); ++group) {
      if (parameters_->borrowed(group)) continue;
      const Buffer<float> sum = groups_[group].tree.finish();
      device().copy(sum_at(group, own(group).begin), sum.data(), sum.size() * sizeof(float));
    }
  }
  return share_sums();
}

// Without sharding every rank updates everything, so each needs what the others have summed.
Result<> GradientStore::share_sums() {
  ProcessGroup &ranks = *parameters_->spread().data;
  if (parameters_->spread().sharding != Sharding::kNone || ranks.size() == 1) return {};
  std::vector<std::unique_ptr<Pending>> pending;
  for (uint32_t group = 0; group < groups_.size(); ++group) {
    if (parameters_->borrowed(group)) continue;
    pending.push_back(ranks.all_gather(groups_[group].sum.items(), parameters_->layout().groups()[group].cuts));
  }
  for (const auto &one : pending) TRAINHOST_CHECK(one->wait());
  return {};
}

void GradientStore::add_squares(ExactSum &sum) const {
  for (uint32_t group = 0; group < groups_.size(); ++group) {
    if (parameters_->borrowed(group)) continue;
    auto blocks = parameters_->layout().blocks(group, own(group));
    const size_t first = summed(group).begin;
    for (FloatRange &block : blocks) block = {block.begin - first, block.end - first};
    std::vector<double> squares(blocks.size());
    device().sum_squares(groups_[group].sum.data(), blocks, squares);
    for (const double square : squares) sum.add(square);
  }
}

}  // namespace trainhost
