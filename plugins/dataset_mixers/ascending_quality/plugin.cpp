// A curriculum by quality, which is a label of each source: a phase begins with the sources of the lowest label and ends with those of the
// highest. It gains most where the learning rate does not fall to 0 meanwhile (arXiv 2511.18903). Among sources of one label the samples
// are spread as weighted spreads them. Each phase that has several labels in its mix begins anew.
#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "border.h"
#include "share_tree.h"
#include "trainhost/cpp/dataset_mixer.hpp"

namespace {

using ascending_quality::Border;
using trainhost::sdk::Config;
using trainhost::sdk::Failure;
using trainhost::sdk::Host;
using trainhost::sdk::view;

constexpr uint64_t kBlock = 10'000;  // as weighted's default

std::vector<std::string> split(const std::string &order) {
  std::vector<std::string> labels;
  for (size_t begin = 0; begin <= order.size();) {
    const size_t end = std::min(order.find(',', begin), order.size());
    const size_t first = order.find_first_not_of(' ', begin), last = order.find_last_not_of(' ', end - (end > 0));
    if (first >= end)
      throw Failure(TH_INVALID, "order is \"" + order + "\"; expected labels with commas between them, as \"ordinary, high\"");
    labels.push_back(order.substr(first, last - first + 1));
    begin = end + 1;
  }
  return labels;
}

// A phase as tiers, one for each label that has a share in it, lowest first; the borders lie between neighbours.
struct Ascent {
  std::vector<weighted::ShareTree> tiers;
  std::vector<Border> borders;

  weighted::ShareTree::Place place(uint64_t sample) const {
    size_t tier = tiers.size() - 1;
    for (; tier > 0; --tier) {  // the samples below a border are a row of their own
      const uint64_t lower = borders[tier - 1].lower(sample);
      if (borders[tier - 1].lower(sample + 1) == lower) {
        sample -= lower;
        break;
      }
      sample = lower;
    }
    return tiers[tier].place(sample);
  }

  void counts(uint64_t samples, std::span<uint64_t> per_source) const {
    std::fill(per_source.begin(), per_source.end(), 0);
    std::vector<uint64_t> of_tier(per_source.size());
    for (size_t tier = tiers.size(); tier-- > 0;) {
      const uint64_t lower = tier > 0 ? borders[tier - 1].lower(samples) : 0;
      tiers[tier].counts(samples - lower, of_tier.data());
      std::transform(of_tier.begin(), of_tier.end(), per_source.begin(), per_source.begin(), std::plus<>());
      samples = lower;
    }
  }
};

class AscendingQualityMixer {
 public:
  AscendingQualityMixer(const Host &, const Config &config, std::span<const th_source_info> sources, uint64_t)
      : transition_(config.number("transition")) {
    const std::string order = config.string("order");
    const std::vector<std::string> labels = split(order);
    for (const th_source_info &source : sources) {
      const auto label = std::find(labels.begin(), labels.end(), view(source.quality));
      if (label == labels.end()) {
        throw Failure(TH_INVALID, "source \"" + std::string(view(source.name)) + "\" has the quality \"" +
                                      std::string(view(source.quality)) + "\", which is not in order = \"" + order + "\"");
      }
      ranks_.push_back(static_cast<size_t>(label - labels.begin()));
    }
    highest_ = labels.size();
  }

  void plan(const th_phase_mix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const {
    const Ascent ascent = ascent_of(mix);
    for (size_t i = 0; i < source.size(); ++i) {
      const auto place = ascent.place(first + i);
      source[i] = place.source;
      ordinal[i] = place.ordinal;
    }
  }

  void counts(const th_phase_mix &mix, uint64_t samples, uint64_t *per_source) const {
    ascent_of(mix).counts(samples, std::span(per_source, ranks_.size()));
  }

 private:
  Ascent ascent_of(const th_phase_mix &mix) const {
    const double whole = std::accumulate(mix.weights, mix.weights + ranks_.size(), 0.0);
    if (!(whole > 0)) throw Failure(TH_INVALID, "no source has a share in phase " + std::to_string(mix.phase));
    const auto samples = static_cast<double>(mix.samples);
    Ascent ascent;
    std::vector<uint64_t> ends;  // of each tier, in a row without transitions
    double below = 0;
    for (size_t rank = 0; rank < highest_; ++rank) {
      std::vector<double> weights(ranks_.size());
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = ranks_[i] == rank ? mix.weights[i] : 0;
      const double weight = std::accumulate(weights.begin(), weights.end(), 0.0);
      if (weight == 0) continue;
      below += weight;
      ascent.tiers.emplace_back(weighted::apportion(weights, kBlock));
      ends.push_back(std::min(static_cast<uint64_t>(below / whole * samples + 0.5), mix.samples));
    }
    ends.back() = mix.samples;
    const auto half = static_cast<uint64_t>(transition_ * samples / 2);
    for (size_t tier = 0; tier + 1 < ends.size(); ++tier) {  // a tier that is shorter than the transition makes it shorter
      ascent.borders.push_back({.at = ends[tier], .half = std::min({half, ends[tier], ends[tier + 1] - ends[tier]})});
    }
    return ascent;
  }

  double transition_;
  std::vector<size_t> ranks_;  // of each source: the place of its label in the order
  size_t highest_ = 0;         // how many labels there are
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_DATASET_MIXER, trainhost::sdk::dataset_mixer_table<AscendingQualityMixer>)
