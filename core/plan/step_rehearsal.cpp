#include "plan/step_rehearsal.h"

#include <algorithm>
#include <map>
#include <utility>

#include "train/model_runner.h"
#include "train/pipeline_schedule.h"

namespace trainhost {

StepRehearsal::StepRehearsal(const Model &model, const ParameterLayout &layout, const RehearsedProcess &process, MemoryTimeline &timeline)
    : model_(model),
      layout_(layout),
      process_(process),
      timeline_(timeline),
      gathered_(layout.groups().size()),
      groups_(layout.groups().size()) {
  for (uint32_t group = 0; group < groups_.size(); ++group) {
    const size_t summed = reduces_each_micro_batch() ? updated(group).size() : layout.groups()[group].size;
    sums_.push_back(floats(MemoryPart::kGradients, summed));
  }
}

FloatRange StepRehearsal::updated(uint32_t group) const {
  return process_.sharding == Sharding::kNone ? FloatRange{0, layout_.groups()[group].size} : own(group);
}

bool StepRehearsal::borrowed(uint32_t group) const { return !process_.units.contains(layout_.groups()[group].users.front()); }

uint32_t StepRehearsal::end_of_hidden() const { return std::min(process_.units.end, static_cast<uint32_t>(model_.units().size()) - 1); }

Result<Model::UnitMemory> StepRehearsal::memory_of(const Pass &pass, uint32_t unit, bool keep) const {
  if (!model_.tells_memory()) return Model::UnitMemory{};
  return model_.unit_memory(unit, pass.training, keep, pass.batches.sequences, pass.batches.sequence_length);
}

// ModelRunner

Result<> StepRehearsal::train(const RehearsedBatches &batches) {
  timeline_.begin("in a training step");
  micro_batches_ = batches.count;
  done_ = 0;
  std::map<uint32_t, Pass> under_way;
  const CountedBlock losses = floats(MemoryPart::kActivations, batches.count);
  for (const auto &[forwards, i] : one_forward_one_backward(process_.stage, process_.stages, batches.count)) {
    if (forwards) {
      Pass &pass = under_way[i];
      pass.batches = batches;
      TRAINHOST_CHECK(forward(pass));
    } else {
      TRAINHOST_CHECK(backward(under_way[i]));
      under_way.erase(i);
    }
  }
  sent_.clear();
  finish_step();
  return {};
}

Result<> StepRehearsal::evaluate(const RehearsedBatches &batches) {
  timeline_.begin("in an evaluation");
  Pass pass{.batches = batches, .training = false, .received = {}, .outputs = {}, .saved = {}};
  const CountedBlock losses = floats(MemoryPart::kData, uint64_t{batches.sequences} * batches.sequence_length);
  TRAINHOST_CHECK(forward(pass));
  sent_.clear();
  if (!gives_loss()) return {};
  const uint32_t last = process_.units.end - 1;
  use(last);
  TRAINHOST_TRY(const auto memory, memory_of(pass, last, false));
  CountedBlock(timeline_, MemoryPart::kWorking, memory.forward);
  release(last);
  return {};
}

Result<> StepRehearsal::forward(Pass &pass) {
  const UnitRange units = process_.units;
  if (units.begin > 0) pass.received = activations(pass, width_before(units.begin));
  for (uint32_t unit = units.begin; unit < end_of_hidden(); ++unit) {
    use(unit);
    if (unit + 1 < units.end) prefetch(unit + 1);
    pass.outputs.push_back(activations(pass, model_.units()[unit].output_width));
    const bool recomputed = !process_.recomputed.empty() && process_.recomputed[unit];
    TRAINHOST_CHECK(run_unit(pass, unit, pass.training && !recomputed));
    release(unit);
    if (!pass.training && pass.outputs.size() > 1) pass.outputs[pass.outputs.size() - 2] = CountedBlock();
  }
  if (!gives_loss()) send(std::move(pass.outputs.back()));
  return {};
}

Result<> StepRehearsal::run_unit(Pass &pass, uint32_t unit, bool keep) {
  TRAINHOST_TRY(const auto memory, memory_of(pass, unit, keep));
  CountedBlock saved(timeline_, MemoryPart::kSaved, memory.saved);
  CountedBlock(timeline_, MemoryPart::kWorking, memory.forward);
  const uint32_t place = unit - process_.units.begin;
  pass.saved.resize(std::max<size_t>(pass.saved.size(), place + 1));
  pass.saved[place] = std::move(saved);
  return {};
}

void StepRehearsal::send(CountedBlock values) {
  sent_.push_back(std::move(values));
  while (sent_.size() > kSendsAtOnce) sent_.pop_front();
}

Result<> StepRehearsal::backward(Pass &pass) {
  const UnitRange units = process_.units;
  uint64_t width = width_before(units.begin);
  for (uint32_t unit = units.begin; unit < end_of_hidden(); ++unit) width = std::max(width, model_.units()[unit].output_width);
  CountedBlock gradient = activations(pass, width);
  if (gives_loss()) {
    const uint32_t last = units.end - 1;
    use(last);
    if (last > units.begin) prefetch(last - 1);
    target(last);
    TRAINHOST_TRY(const auto memory, memory_of(pass, last, true));
    CountedBlock(timeline_, MemoryPart::kWorking, memory.saved + memory.backward);
    release(last);
    finished(last);
  }
  for (uint32_t unit = end_of_hidden(); unit-- > units.begin;) TRAINHOST_CHECK(unit_backward(pass, unit));
  if (units.begin > 0) send(std::move(gradient));
  return {};
}

Result<> StepRehearsal::unit_backward(Pass &pass, uint32_t unit) {
  const uint32_t place = unit - process_.units.begin;
  use(unit);
  if (unit > process_.units.begin) prefetch(unit - 1);
  if (!process_.recomputed.empty() && process_.recomputed[unit]) {
    if (pass.outputs[place].empty()) pass.outputs[place] = activations(pass, model_.units()[unit].output_width);
    TRAINHOST_CHECK(run_unit(pass, unit, true));
  }
  pass.outputs[place] = CountedBlock();
  target(unit);
  TRAINHOST_TRY(const auto memory, memory_of(pass, unit, true));
  CountedBlock(timeline_, MemoryPart::kWorking, memory.backward);
  pass.saved[place] = CountedBlock();
  release(unit);
  finished(unit);
  return {};
}

// ParameterStore

void StepRehearsal::prefetch(uint32_t unit) {
  if (process_.sharding != Sharding::kParameters) return;
  for (const uint32_t group : layout_.groups_of(unit)) {
    if (gathered_[group].whole.empty()) gathered_[group].whole = items(MemoryPart::kGathered, layout_.groups()[group].size);
  }
}

void StepRehearsal::use(uint32_t unit) {
  prefetch(unit);
  for (const uint32_t group : layout_.groups_of(unit)) ++gathered_[group].uses;
}

void StepRehearsal::release(uint32_t unit) {
  for (const uint32_t group : layout_.groups_of(unit)) {
    if (--gathered_[group].uses == 0) gathered_[group].whole = CountedBlock();
  }
}

// GradientStore

bool StepRehearsal::reduces_each_micro_batch() const {
  return process_.reduction == Reduction::kFixed || process_.sharding >= Sharding::kGradients;
}

size_t StepRehearsal::users_here(uint32_t group) const {
  return static_cast<size_t>(
      std::ranges::count_if(layout_.groups()[group].users, [&](uint32_t user) { return process_.units.contains(user); }));
}

void StepRehearsal::target(uint32_t unit) {
  if (!reduces_each_micro_batch()) return;
  for (const uint32_t group : layout_.groups_of(unit)) {
    const ParameterGroup &placed = layout_.groups()[group];
    auto &now = groups_[group].now;
    now.resize(process_.reduction == Reduction::kFixed ? placed.users.size() : 1);
    const auto user = static_cast<size_t>(std::ranges::find(placed.users, unit) - placed.users.begin());
    CountedBlock &own = now[now.size() > 1 ? user : 0];
    if (own.empty()) own = floats(MemoryPart::kGradients, placed.size);
  }
}

void StepRehearsal::finished(uint32_t unit) {
  for (const uint32_t group : layout_.groups_of(unit)) {
    if (++groups_[group].finished_users < users_here(group)) continue;
    groups_[group].finished_users = 0;
    group_finished(group);
  }
  if (unit == process_.units.begin) ++done_;
}

void StepRehearsal::group_finished(uint32_t group) {
  Exchange exchange{.sent = {}, .received = {}, .group = group};
  if (!reduces_each_micro_batch() && done_ + 1 < micro_batches_) return;
  if (borrowed(group)) return give_back(group);
  collect_lent(group);
  const size_t size = layout_.groups()[group].size;
  if (reduces_each_micro_batch()) {
    groups_[group].now.clear();
    if (process_.ranks == 1) return add_leaf(group, floats(MemoryPart::kReduction, size));
    exchange.sent = floats(MemoryPart::kExchange, size);
  }
  if (process_.ranks == 1) return;
  exchange.received = floats(MemoryPart::kExchange, own(group).size() * process_.ranks);
  exchanges_.push_back(std::move(exchange));
  while (exchanges_.size() > kExchangesAtOnce) complete_oldest();
}

void StepRehearsal::give_back(uint32_t group) {
  for (CountedBlock &gradient : groups_[group].now) given_back_.push_back(std::move(gradient));
  groups_[group].now.clear();
}

void StepRehearsal::collect_lent(uint32_t group) {
  const ParameterGroup &placed = layout_.groups()[group];
  for (size_t i = 0; i < placed.users.size(); ++i) {
    if (process_.units.contains(placed.users[i])) continue;
    CountedBlock lent = floats(MemoryPart::kExchange, placed.size);
    if (process_.reduction == Reduction::kFixed) groups_[group].now[i] = std::move(lent);
  }
}

void StepRehearsal::complete_oldest() {
  const Exchange exchange = std::move(exchanges_.front());
  exchanges_.pop_front();
  if (process_.reduction != Reduction::kFixed) return;
  for (uint32_t rank = 0; rank < process_.ranks; ++rank)
    add_leaf(exchange.group, floats(MemoryPart::kReduction, own(exchange.group).size()));
}

// See ReductionTree::add.
void StepRehearsal::add_leaf(uint32_t group, CountedBlock leaf) {
  auto &tree = groups_[group].tree;
  Leaf node{1, std::move(leaf)};
  while (!tree.empty() && tree.back().leaves == node.leaves) {
    node = {2 * node.leaves, std::move(tree.back().sum)};
    tree.pop_back();
  }
  tree.push_back(std::move(node));
}

void StepRehearsal::finish_step() {
  while (!exchanges_.empty()) complete_oldest();
  given_back_.clear();
  for (Group &group : groups_) group.tree.clear();
}

}  // namespace trainhost
