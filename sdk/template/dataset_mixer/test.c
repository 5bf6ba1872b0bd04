/* Calls the plugin as the host does, through its C table, and compares with the closed form: test FILE.so */
#include <math.h>

#include <trainhost/kinds/dataset_mixer.h>
#include <trainhost/testing/host.h>

enum { kSources = 3, kBlock = 1024, kSamples = 5000 };

static th_test_host host;
static const th_dataset_mixer_api *api;
static th_dataset_mixer *mixer;
static const uint64_t windows[kSources] = {100, 100, 100};

static th_phase_mix mix_of(const double *weights) {
  const th_phase_mix mix = {.struct_size = sizeof mix, .weights = weights, .windows = windows, .samples = kSamples};
  return mix;
}

/* 5/8, 1/4 and 1/8 of 1024 are whole, so every block has exactly 640, 256 and 128 of them. */
static void deals_exact_shares(void) {
  const double weights[kSources] = {0.625, 0.25, 0.125};
  const th_phase_mix mix = mix_of(weights);
  const uint64_t far = UINT64_C(1) << 40;
  uint64_t counts[kSources];
  TH_TEST(api->counts(mixer, &mix, far * kBlock, counts) == TH_OK); /* at once, however far */
  TH_TEST(counts[0] == far * 640 && counts[1] == far * 256 && counts[2] == far * 128);
}

/* A source with the share w comes every 1 / w samples or so: never far from its share, anywhere. */
static void spreads_them(const th_phase_mix *mix, const uint32_t *source) {
  double seen[kSources] = {0};
  for (int i = 0; i < kSamples; ++i) {
    seen[source[i]] += 1;
    for (int k = 0; k < kSources; ++k) TH_TEST(fabs(seen[k] - (i + 1) * mix->weights[k]) < 8);
  }
}

/* Ordinals count each source from 0 without gaps, and counts() agrees with plan() at every point. */
static void agrees_with_itself(const th_phase_mix *mix, const uint32_t *source, const uint64_t *ordinal) {
  uint64_t seen[kSources] = {0}, counts[kSources];
  for (int i = 0; i < kSamples; ++i) {
    TH_TEST(api->counts(mixer, mix, (uint64_t)i, counts) == TH_OK && memcmp(seen, counts, sizeof seen) == 0);
    TH_TEST(ordinal[i] == seen[source[i]]++);
  }
}

/* Ranges of any length give what one range gives. */
static void does_not_see_where_it_is_cut(const th_phase_mix *mix, const uint32_t *source, const uint64_t *ordinal) {
  uint32_t piece_source[7];
  uint64_t piece_ordinal[7];
  for (uint32_t first = 0; first + 7 <= kSamples; first += 5) {
    TH_TEST(api->plan(mixer, mix, first, 7, piece_source, piece_ordinal) == TH_OK);
    TH_TEST(memcmp(piece_source, source + first, sizeof piece_source) == 0);
    TH_TEST(memcmp(piece_ordinal, ordinal + first, sizeof piece_ordinal) == 0);
  }
}

static void plans_uneven_shares(void) {
  static uint32_t source[kSamples];
  static uint64_t ordinal[kSamples];
  const double weights[kSources] = {0.7, 0, 0.3};
  const th_phase_mix mix = mix_of(weights);
  TH_TEST(api->plan(mixer, &mix, 0, kSamples, source, ordinal) == TH_OK);
  spreads_them(&mix, source);
  agrees_with_itself(&mix, source, ordinal);
  does_not_see_where_it_is_cut(&mix, source, ordinal);
}

static void refuses_a_share_below_one_sample(void) {
  const double weights[kSources] = {0.4999, 0.5, 0.0001};
  const th_phase_mix mix = mix_of(weights);
  uint64_t counts[kSources];
  TH_TEST(api->counts(mixer, &mix, kSamples, counts) == TH_INVALID);
  TH_TEST(strstr(host.failure, "source 2 has the weight 0.0001") != NULL);
}

int main(int count, char **arguments) {
  th_source_info sources[kSources];
  TH_TEST(count == 2);
  for (int k = 0; k < kSources; ++k) {
    const th_source_info info = {.struct_size = sizeof info, .name = th_test_string("some"), .tokens = 1000};
    sources[k] = info;
  }
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_DATASET_MIXER);
  th_test_set_integer(&host, "block", kBlock);
  TH_TEST(api->create(&host.table, th_test_config(&host), sources, kSources, 1, &mixer) == TH_OK);
  deals_exact_shares();
  plans_uneven_shares();
  refuses_a_share_below_one_sample();
  api->destroy(mixer);
  TH_TEST(host.blocks == 0);
  return 0;
}
