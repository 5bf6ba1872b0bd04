// Online data mixing: A. Albalak, L. Pan, C. Raffel and W. Y. Wang, Efficient Online Data Mixing For Language Model Pre-Training, 2023
// (arXiv 2312.02406), which is Exp3 (P. Auer et al. 2002) with a source's training loss as its reward. For K sources, round t = 1, 2, ...
// and l_i the mean loss of source i in the round before:
//   R_i += l_i / p_i
//   eps_t = min(1 / K, sqrt(ln K / (K t)))
//   p_i = (1 - K eps_t) exp(eps_(t-1) R_i) / sum_j exp(eps_(t-1) R_j) + eps_t
// The K sources are those that the recipe gives a weight in the phase; the weights themselves are not used.
#include <trainhost/cpp/dataset_mixer.hpp>

#include <algorithm>
#include <vector>

namespace {

using namespace trainhost::sdk;

// With t = 0 and with one source it is 1 / K and 0: the quotient is infinite, the logarithm 0.
double epsilon(double t, double sources) { return std::min(1 / sources, std::sqrt(std::log(sources) / (sources * t))); }

class Online {
 public:
  // No chance is in it, so the seed is not needed: what Exp3 draws, a round of many samples has in proportion.
  Online(const Host &, const Config &config, std::span<const th_source_info> sources, uint64_t)
      : round_tokens_(config.amount("round")), sources_(sources.size()) {}

  // The state: t, then each source's R.
  void describe(th_mixer_feedback_info &out) const {
    out.state_size = static_cast<uint32_t>(1 + sources_);
    out.round_tokens = round_tokens_;
  }

  void next_round(const th_mix_round &round, std::span<double> state, std::span<double> weights) const {
    double &t = state[0];
    const auto rewards = state.subspan(1);
    for (size_t i = 0; i < sources_; ++i) {
      if (round.tokens[i] > 0 && round.weights[i] > 0) rewards[i] += round.losses[i] / round.weights[i];
    }
    t += 1;
    const auto takes_part = [&](size_t i) { return round.phase->weights[i] > 0; };
    double count = 0, largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < sources_; ++i) {
      if (takes_part(i)) count += 1, largest = std::max(largest, rewards[i]);
    }
    const double now = epsilon(t, count), before = t > 1 ? epsilon(t - 1, count) : 1 / count;
    for (size_t i = 0; i < sources_; ++i) {  // the largest is taken off, or the exponential would overflow after some rounds
      weights[i] = takes_part(i) ? std::exp(before * (rewards[i] - largest)) : 0;
      sum += weights[i];
    }
    for (size_t i = 0; i < sources_; ++i) {
      if (takes_part(i)) weights[i] = (1 - count * now) * weights[i] / sum + now;
    }
  }

  void plan(const th_phase_mix &mix, uint64_t first, std::span<uint32_t> source, std::span<uint64_t> ordinal) const {
    const std::vector<double> shares = shares_of_rest(mix);
    for (size_t i = 0; i < source.size(); ++i) {
      uint64_t sample = first + i;
      uint32_t k = 0;
      for (; taken(shares[k], sample + 1) == taken(shares[k], sample); ++k) sample -= taken(shares[k], sample);
      source[i] = k;
      ordinal[i] = taken(shares[k], sample);
    }
  }

  void counts(const th_phase_mix &mix, uint64_t samples, uint64_t *per_source) const {
    const std::vector<double> shares = shares_of_rest(mix);
    for (size_t k = 0; k < sources_; ++k) {
      per_source[k] = taken(shares[k], samples);
      samples -= per_source[k];
    }
  }

 private:
  // Each source takes, of the samples that the sources before it leave, the same share of any first n of them, rounded to whole samples. So
  // a sample's source is a function of its index alone, and every source comes as evenly as can be.
  static uint64_t taken(double share, uint64_t n) { return static_cast<uint64_t>(share * static_cast<double>(n) + 0.5); }

  // Of the weights from a source on, the source's own; 1 for the last one that has a weight, which takes all that is left.
  std::vector<double> shares_of_rest(const th_phase_mix &mix) const {
    std::vector<double> shares(sources_);
    double rest = 0;
    for (size_t k = sources_; k-- > 0;) {
      rest += mix.weights[k];
      shares[k] = mix.weights[k] > 0 ? mix.weights[k] / rest : 0;
    }
    return shares;
  }

  double round_tokens_;
  size_t sources_;
};

}  // namespace

TRAINHOST_PLUGIN(TH_KIND_DATASET_MIXER, dataset_mixer_table<Online>)
