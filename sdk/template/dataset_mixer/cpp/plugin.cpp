// Deals samples by weight. Every block of B samples is dealt alike: source k owns the places [B c(k), B c(k + 1)) of a deck of B, where
// c(k) is the sum of the weights before k and both ends are rounded; the sample at offset o of a block takes place (o x stride) mod B.
// The stride is near the golden section of B and shares no factor with it, so each place comes once and neighbours come far apart.
//
// So where a sample comes from is a function of its index alone, and how many came before it takes one block to count.
#include <trainhost/cpp/dataset_mixer.hpp>

#include <algorithm>
#include <numeric>
#include <vector>

namespace {

using namespace trainhost::sdk;

class DealtMixer {
 public:
  // The seed is not needed: this order has no chance in it. The sources' infos are valid during this call only.
  DealtMixer(const Host &, const Config &config, std::span<const th_source_info> sources, uint64_t)
      : block_(static_cast<uint64_t>(config.integer("block"))), sources_(sources.size()) {
    stride_ = static_cast<uint64_t>(0.618 * static_cast<double>(block_));
    while (std::gcd(stride_, block_) != 1) ++stride_;
  }

  void plan(const th_phase_mix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const {
    const auto ends = places(mix);
    std::vector<uint64_t> next(sources_);
    count(ends, first, next.data());
    for (size_t i = 0; i < source.size(); ++i) {
      source[i] = owner(ends, first + i);
      ordinal[i] = next[source[i]]++;
    }
  }

  void counts(const th_phase_mix &mix, uint64_t samples, uint64_t *per_source) const { count(places(mix), samples, per_source); }

 private:
  // Where each source's places in the deck end.
  std::vector<uint64_t> places(const th_phase_mix &mix) const {
    std::vector<uint64_t> ends(sources_);
    const double total = std::accumulate(mix.weights, mix.weights + sources_, 0.0);  // 1, or a rounding beside it
    double sum = 0;
    for (size_t k = 0; k < sources_; ++k) {
      sum += mix.weights[k];
      ends[k] = static_cast<uint64_t>(sum / total * static_cast<double>(block_) + 0.5);
      if (mix.weights[k] > 0 && ends[k] == (k == 0 ? 0 : ends[k - 1])) {
        throw Failure(TH_INVALID, "source " + std::to_string(k) + " has the weight " + std::to_string(mix.weights[k]) +
                                      " and would get no sample; expected at least 1 / block, and block is " + std::to_string(block_));
      }
    }
    return ends;
  }

  uint32_t owner(const std::vector<uint64_t> &ends, uint64_t sample) const {
    const uint64_t place = sample % block_ * stride_ % block_;
    return static_cast<uint32_t>(std::upper_bound(ends.begin(), ends.end(), place) - ends.begin());
  }

  // Whole blocks by multiplication, the rest one by one: the time does not grow with `samples`.
  void count(const std::vector<uint64_t> &ends, uint64_t samples, uint64_t *per_source) const {
    for (size_t k = 0; k < sources_; ++k) per_source[k] = samples / block_ * (ends[k] - (k == 0 ? 0 : ends[k - 1]));
    for (uint64_t rest = samples / block_ * block_; rest < samples; ++rest) ++per_source[owner(ends, rest)];
  }

  uint64_t block_, stride_;
  size_t sources_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_DATASET_MIXER, dataset_mixer_table<DealtMixer>)
