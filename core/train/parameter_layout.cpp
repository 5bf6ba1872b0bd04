#include "train/parameter_layout.h"

#include <algorithm>
#include <map>

namespace trainhost {
namespace {

// Where a group may be cut: between its parameters, and between the blocks of one where the optimizer allows it.
std::vector<size_t> possible_cuts(const ParameterGroup &group, std::span<const th_parameter_info> infos, bool through_parameters) {
  std::vector<size_t> places;
  for (size_t i = 0; i < group.parameters.size(); ++i) {
    const size_t count = through_parameters ? element_count(infos[group.parameters[i]]) : 1;
    for (size_t begin = 0; begin < count; begin += kBlock) places.push_back(group.offsets[i] + begin);
  }
  places.push_back(group.size);
  return places;
}

// The possible cut nearest to each rank's share, in order.
std::vector<size_t> cut(const ParameterGroup &group, const std::vector<size_t> &places, uint32_t ranks) {
  std::vector<size_t> cuts{0};
  for (uint32_t rank = 1; rank < ranks; ++rank) {
    const size_t wanted = group.size * rank / ranks;
    auto above = std::lower_bound(places.begin(), places.end(), wanted);
    if (above != places.begin() && wanted - above[-1] < *above - wanted) --above;
    cuts.push_back(std::max(cuts.back(), *above));
  }
  cuts.push_back(group.size);
  return cuts;
}

}  // namespace

size_t aligned(size_t count) {
  constexpr size_t kAlignment = 16;  // 64 bytes
  return (count + kAlignment - 1) / kAlignment * kAlignment;
}

size_t element_count(const th_parameter_info &info) {
  size_t count = 1;
  for (int32_t i = 0; i < info.rank; ++i) count *= static_cast<size_t>(info.shape[i]);
  return count;
}

ParameterLayout::ParameterLayout(const Model &model, UnitRange units, uint32_t ranks, int32_t granularity)
    : placements_(model.parameters().size()), groups_of_unit_(model.units().size()) {
  std::vector<std::vector<uint32_t>> users(model.parameters().size());
  for (uint32_t unit = 0; unit < model.units().size(); ++unit) {
    const th_unit_info &info = model.units()[unit];
    for (const uint32_t index : std::span(info.parameters, info.parameter_count)) users[index].push_back(unit);
  }
  std::map<std::vector<uint32_t>, uint32_t> group_of;  // by users
  for (uint32_t unit = 0; unit < model.units().size(); ++unit) {
    const th_unit_info &info = model.units()[unit];
    for (const uint32_t index : std::span(info.parameters, info.parameter_count)) {
      if (users[index].front() != unit) continue;  // placed for an earlier user
      if (std::ranges::none_of(users[index], [&](uint32_t user) { return units.contains(user); })) continue;
      const auto [entry, absent] = group_of.try_emplace(users[index], static_cast<uint32_t>(groups_.size()));
      if (absent) groups_.push_back({.parameters = {}, .offsets = {}, .users = users[index], .size = 0, .cuts = {}});
      ParameterGroup &group = groups_[entry->second];
      const size_t count = element_count(model.parameters()[index]);
      placements_[index] = {entry->second, group.size, group.size + count};
      group.parameters.push_back(index);
      group.offsets.push_back(group.size);
      group.size += aligned(count);
    }
  }
  for (uint32_t i = 0; i < groups_.size(); ++i) {
    ParameterGroup &group = groups_[i];
    group.cuts = cut(group, possible_cuts(group, model.parameters(), granularity == TH_GRANULARITY_ELEMENT), ranks);
    for (const uint32_t unit : group.users) groups_of_unit_[unit].push_back(i);
  }
}

std::vector<FloatRange> ParameterLayout::blocks(uint32_t group, FloatRange range) const {
  std::vector<FloatRange> blocks;
  for (const uint32_t index : groups_[group].parameters) {
    const Placement &place = placements_[index];
    for (size_t begin = place.begin; begin < place.end; begin += kBlock) {
      const size_t end = std::min(begin + kBlock, place.end);
      if (begin >= range.begin && end <= range.end) blocks.push_back({begin, end});
    }
  }
  return blocks;
}

}  // namespace trainhost
