// Online data mixing: A. Albalak, L. Pan, C. Raffel and W. Y. Wang, Efficient Online Data Mixing For Language Model Pre-Training, 2023
// (arXiv 2312.02406), which is the bandit Exp3 (P. Auer et al., 2002) with a source's training loss as its reward. For the K sources that
// have a weight in the phase, round t = 1, 2, ... and l_i the mean loss of source i in the round before:
//   R_i += reward_per_nat * l_i / w_i            w_i: its share in that round
//   eps_t = min(1 / K, sqrt(ln K / (K t)))
//   p_i = (1 - K eps_t) exp(eps_(t-1) R_i) / sum_j exp(eps_(t-1) R_j) + eps_t
//   w_i = prior * (the recipe's share) + (1 - prior) * p_i
// Without a prior the recipe's mix says only which sources take part, and the first rounds are even; where all rewards grow alike, w_i is
// in proportion to l_i.
#include <algorithm>
#include <cmath>
#include <vector>

#include "trainhost/cpp/dataset_mixer.hpp"
#include "weighted_order.h"

namespace {

using trainhost::sdk::Config;
using trainhost::sdk::Host;

constexpr uint64_t kBlock = 10'000;  // as weighted's default

// With one source it is 0, with t = 0 the quotient is infinite.
double exploration(double t, double sources) { return std::min(1 / sources, std::sqrt(std::log(sources) / (sources * t))); }

// No chance is in it: what the bandit draws, a round of many samples has in proportion.
class FeedbackMixer : public weighted::WeightedOrder {
 public:
  FeedbackMixer(const Host &, const Config &config, std::span<const th_source_info> sources, uint64_t)
      : WeightedOrder(kBlock, sources.size()),
        sources_(sources.size()),
        round_tokens_(config.amount("round")),
        reward_per_nat_(config.number("reward_per_nat")),
        prior_(config.number("prior")) {}

  // The state: t, then each source's R.
  void describe(th_mixer_feedback_info &out) const {
    out.state_size = static_cast<uint32_t>(1 + sources_);
    out.round_tokens = round_tokens_;
  }

  void next_round(const th_mix_round &round, std::span<double> state, std::span<double> weights) const {
    reward(round, state.subspan(1));
    state[0] += 1;
    choose(std::span(round.phase->weights, sources_), state[0], state.subspan(1), weights);
  }

 private:
  void reward(const th_mix_round &round, std::span<double> rewards) const {
    for (size_t i = 0; i < sources_; ++i) {
      if (round.tokens[i] > 0 && round.weights[i] > 0) rewards[i] += reward_per_nat_ * round.losses[i] / round.weights[i];
    }
  }

  void choose(std::span<const double> recipe, double t, std::span<const double> rewards, std::span<double> weights) const {
    double count = 0, largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < sources_; ++i) {
      if (recipe[i] > 0) count += 1, largest = std::max(largest, rewards[i]);
    }
    const double before = exploration(t - 1, count), now = exploration(t, count);
    for (size_t i = 0; i < sources_; ++i) {  // the largest is taken off, or the exponential would overflow after some rounds
      weights[i] = recipe[i] > 0 ? std::exp(before * (rewards[i] - largest)) : 0;
      sum += weights[i];
    }
    for (size_t i = 0; i < sources_; ++i) {
      if (recipe[i] > 0) weights[i] = prior_ * recipe[i] + (1 - prior_) * ((1 - count * now) * weights[i] / sum + now);
    }
  }

  size_t sources_;
  double round_tokens_, reward_per_nat_, prior_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_DATASET_MIXER, trainhost::sdk::dataset_mixer_table<FeedbackMixer>)
