/* Calls the plugin as the host does, through its C tables, and compares with Exp3 computed by NumPy: test FILE.so */
#include <math.h>

#include <trainhost/ext/mixer_feedback.h>
#include <trainhost/testing/host.h>

#include "exp3_values.h"

enum { kSamples = 3000 };

static th_test_host host;
static const th_dataset_mixer_api *api;
static th_dataset_mixer *mixer;
static const uint64_t windows[kSources] = {100, 100, 100};

static th_phase_mix mix_of(const double *weights) {
  const th_phase_mix mix = {.struct_size = sizeof mix, .weights = weights, .windows = windows, .samples = kSamples};
  return mix;
}

static const th_mixer_feedback *feedback(void) {
  const th_mixer_feedback *table = (const th_mixer_feedback *)api->get_extension(mixer, th_test_string(TH_EXT_MIXER_FEEDBACK));
  TH_TEST(table != NULL);
  return table;
}

static void next_round(const double *recipe, const double *shares, const double *losses, const uint64_t *tokens, double *state,
                       double *weights) {
  const th_phase_mix phase = mix_of(recipe);
  const th_mix_round round = {
      .struct_size = sizeof round, .sources = kSources, .phase = &phase, .weights = shares, .losses = losses, .tokens = tokens};
  TH_TEST(feedback()->next_round(mixer, &round, state, weights) == TH_OK);
}

static void tells_its_state(void) {
  th_mixer_feedback_info info = {.struct_size = sizeof info};
  TH_TEST(feedback()->describe(mixer, &info) == TH_OK);
  TH_TEST(info.state_size == 1 + kSources && info.round_tokens == 5000);
}

/* The recipe's weights do not matter; another instance goes on with the state. */
static void follows_exp3(void) {
  static const double recipe[kSources] = {0.7, 0.2, 0.1}, none[kSources] = {NAN, NAN, NAN};
  static const uint64_t nothing[kSources] = {0, 0, 0}, tokens[kSources] = {500, 300, 200};
  double state[1 + kSources] = {0}, shares[kSources];
  next_round(recipe, recipe, none, nothing, state, shares);
  for (int t = 1;; ++t) {
    const double losses[kSources] = {2.5 - 0.125 * t, 1.5 + 0.0625 * (t % 4), 2.0 - 0.03125 * t};
    double before[kSources];
    for (int k = 0; k < kSources; ++k) TH_TEST(th_test_near(shares[k], exp3_shares[t - 1][k], 1e-12));
    if (t == kRounds) return;
    memcpy(before, shares, sizeof before);
    next_round(recipe, before, losses, tokens, state, shares);
  }
}

/* A source that the phase does not use keeps its reward and takes no part; one without tokens has nothing to add. */
static void leaves_out_what_has_no_weight(void) {
  static const double recipe[kSources] = {0.5, 0, 0.5}, losses[kSources] = {3, 2, NAN}, third[kSources] = {1 / 3.0, 1 / 3.0, 1 / 3.0};
  static const uint64_t tokens[kSources] = {100, 100, 0};
  const double now = fmin(0.5, sqrt(log(2) / (2 * 5.0))), before = fmin(0.5, sqrt(log(2) / (2 * 4.0)));
  double state[1 + kSources] = {4, 10, 20, 15}, shares[kSources];
  next_round(recipe, third, losses, tokens, state, shares);
  TH_TEST(state[0] == 5 && th_test_near(state[1], 19, 1e-12) && th_test_near(state[2], 26, 1e-12) && state[3] == 15);
  TH_TEST(shares[1] == 0);
  TH_TEST(th_test_near(shares[0], (1 - 2 * now) / (1 + exp(before * (15 - 19))) + now, 1e-12));
  TH_TEST(th_test_near(shares[0] + shares[2], 1, 1e-12));
}

static void does_not_overflow(void) {
  static const double recipe[kSources] = {0.4, 0.3, 0.3}, losses[kSources] = {1e6, 1, 1};
  static const uint64_t tokens[kSources] = {1, 1, 1};
  double state[1 + kSources] = {1000, 1e9, 1e8, 0}, shares[kSources];
  next_round(recipe, recipe, losses, tokens, state, shares);
  for (int k = 0; k < kSources; ++k) TH_TEST(isfinite(shares[k]) && shares[k] > 0 && isfinite(state[1 + k]));
  TH_TEST(shares[0] > 0.9);
}

static void takes_a_single_source(void) {
  static const double recipe[kSources] = {0, 1, 0}, losses[kSources] = {NAN, 2, NAN};
  static const uint64_t tokens[kSources] = {0, 10, 0};
  double state[1 + kSources] = {3, 0, 5, 0}, shares[kSources];
  next_round(recipe, recipe, losses, tokens, state, shares);
  TH_TEST(shares[0] == 0 && shares[1] == 1 && shares[2] == 0);
}

/* Ordinals count each source from 0 without gaps, counts agrees with plan, and no source is ever a sample or more from its share. */
static void plans(const double *weights) {
  static uint32_t source[kSamples], piece_source[7];
  static uint64_t ordinal[kSamples], piece_ordinal[7];
  const th_phase_mix mix = mix_of(weights);
  uint64_t seen[kSources] = {0}, counts[kSources];
  TH_TEST(api->plan(mixer, &mix, 0, kSamples, source, ordinal) == TH_OK);
  for (uint32_t i = 0; i < kSamples; ++i) {
    TH_TEST(api->counts(mixer, &mix, i, counts) == TH_OK && memcmp(seen, counts, sizeof seen) == 0);
    TH_TEST(source[i] < kSources && ordinal[i] == seen[source[i]]++);
    for (int k = 0; k < kSources; ++k) TH_TEST(fabs((double)seen[k] - (i + 1) * weights[k]) < 1);
  }
  for (uint32_t begin = 0; begin + 7 <= kSamples; begin += 5) {
    TH_TEST(api->plan(mixer, &mix, begin, 7, piece_source, piece_ordinal) == TH_OK);
    TH_TEST(memcmp(piece_source, source + begin, sizeof piece_source) == 0);
    TH_TEST(memcmp(piece_ordinal, ordinal + begin, sizeof piece_ordinal) == 0);
  }
}

/* At once, however far. */
static void counts_far_away(void) {
  const double weights[kSources] = {0.625, 0.25, 0.125};
  const th_phase_mix mix = mix_of(weights);
  const uint64_t far = UINT64_C(1) << 40;
  uint64_t counts[kSources];
  TH_TEST(api->counts(mixer, &mix, far, counts) == TH_OK);
  TH_TEST(counts[0] == far / 8 * 5 && counts[1] == far / 4 && counts[2] == far / 8);
}

int main(int count, char **arguments) {
  static const double uneven[kSources] = {0.37, 0.41, 0.22}, without_last[kSources] = {0.9, 0.1, 0},
                      without_first[kSources] = {0, 0.1, 0.9};
  th_source_info sources[kSources];
  TH_TEST(count == 2);
  for (int k = 0; k < kSources; ++k) {
    const th_source_info info = {.struct_size = sizeof info, .name = th_test_string("some"), .tokens = 1000};
    sources[k] = info;
  }
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_DATASET_MIXER);
  th_test_set_amount(&host, "round", 5000);
  TH_TEST(api->create(&host.table, th_test_config(&host), sources, kSources, 1, &mixer) == TH_OK);
  tells_its_state();
  follows_exp3();
  leaves_out_what_has_no_weight();
  does_not_overflow();
  takes_a_single_source();
  plans(uneven);
  plans(without_last);
  plans(without_first);
  counts_far_away();
  api->destroy(mixer);
  TH_TEST(host.blocks == 0);
  return 0;
}
