/* Deals samples by weight. Every block of B samples is dealt alike: source k owns the places [B c(k), B c(k + 1)) of a deck of B, where
 * c(k) is the sum of the weights before k and both ends are rounded; the sample at offset o of a block takes place (o x stride) mod B.
 * The stride is near the golden section of B and shares no factor with it, so each place comes once and neighbours come far apart.
 *
 * So where a sample comes from is a function of its index alone, and how many came before it takes one block to count. */
#include <trainhost/kinds/dataset_mixer.h>
#include <trainhost/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(literal) ((th_string){literal, sizeof(literal) - 1})

struct th_dataset_mixer {
  const th_host *host;
  uint64_t block, stride;
  uint32_t sources;
};

static uint64_t common_divisor(uint64_t a, uint64_t b) { return b == 0 ? a : common_divisor(b, a % b); }

/* The seed is not needed: this order has no chance in it. The sources' infos are valid during this call only. */
static th_status create(const th_host *host, const th_config *config, const th_source_info *sources, uint32_t count, uint64_t seed,
                        th_dataset_mixer **out) {
  (void)sources, (void)seed;
  int64_t block = 0;
  const th_status status = host->get_integer(config, TEXT("block"), &block);
  if (status != TH_OK) return status;
  th_dataset_mixer *self = malloc(sizeof *self);
  if (self == NULL) return host->fail(host, TH_OUT_OF_MEMORY, TEXT("no memory for the mixer"));
  *self = (th_dataset_mixer){.host = host, .block = (uint64_t)block, .stride = (uint64_t)(0.618 * (double)block), .sources = count};
  while (common_divisor(self->stride, self->block) != 1) ++self->stride;
  *out = self;
  return TH_OK;
}

static void destroy(th_dataset_mixer *self) { free(self); }

static th_status refuse_weight(const th_dataset_mixer *self, uint32_t source, double weight) {
  char text[200];
  const int length =
      snprintf(text, sizeof text, "source %u has the weight %f and would get no sample; expected at least 1 / block, and block is %llu",
               (unsigned)source, weight, (unsigned long long)self->block);
  return self->host->fail(self->host, TH_INVALID, (th_string){text, (size_t)length});
}

/* Where each source's places in the deck end. */
static th_status places(const th_dataset_mixer *self, const th_phase_mix *mix, uint64_t *ends) {
  double sum = 0, total = 0; /* total: 1, or a rounding beside it */
  for (uint32_t k = 0; k < self->sources; ++k) total += mix->weights[k];
  for (uint32_t k = 0; k < self->sources; ++k) {
    sum += mix->weights[k];
    ends[k] = (uint64_t)(sum / total * (double)self->block + 0.5);
    if (mix->weights[k] > 0 && ends[k] == (k == 0 ? 0 : ends[k - 1])) return refuse_weight(self, k, mix->weights[k]);
  }
  return TH_OK;
}

static uint32_t owner(const th_dataset_mixer *self, const uint64_t *ends, uint64_t sample) {
  const uint64_t place = sample % self->block * self->stride % self->block;
  uint32_t k = 0;
  while (ends[k] <= place) ++k;
  return k;
}

/* Whole blocks by multiplication, the rest one by one: the time does not grow with `samples`. */
static void count(const th_dataset_mixer *self, const uint64_t *ends, uint64_t samples, uint64_t *per_source) {
  for (uint32_t k = 0; k < self->sources; ++k) per_source[k] = samples / self->block * (ends[k] - (k == 0 ? 0 : ends[k - 1]));
  for (uint64_t rest = samples / self->block * self->block; rest < samples; ++rest) ++per_source[owner(self, ends, rest)];
}

static th_status counts(const th_dataset_mixer *self, const th_phase_mix *mix, uint64_t samples, uint64_t *per_source) {
  const size_t bytes = self->sources * sizeof(uint64_t);
  uint64_t *ends = self->host->allocate(self->host, bytes, sizeof(uint64_t), NULL);
  if (ends == NULL) return self->host->fail(self->host, TH_OUT_OF_MEMORY, TEXT("no memory for the shares"));
  const th_status status = places(self, mix, ends);
  if (status == TH_OK) count(self, ends, samples, per_source);
  self->host->deallocate(self->host, ends, bytes, NULL);
  return status;
}

static th_status plan(const th_dataset_mixer *self, const th_phase_mix *mix, uint64_t first, uint32_t samples, uint32_t *source,
                      uint64_t *ordinal) {
  const size_t bytes = 2 * self->sources * sizeof(uint64_t);
  uint64_t *ends = self->host->allocate(self->host, bytes, sizeof(uint64_t), NULL);
  if (ends == NULL) return self->host->fail(self->host, TH_OUT_OF_MEMORY, TEXT("no memory for the shares"));
  uint64_t *next = ends + self->sources;
  const th_status status = places(self, mix, ends);
  if (status == TH_OK) {
    count(self, ends, first, next);
    for (uint32_t i = 0; i < samples; ++i) {
      source[i] = owner(self, ends, first + i);
      ordinal[i] = next[source[i]]++;
    }
  }
  self->host->deallocate(self->host, ends, bytes, NULL);
  return status;
}

static const void *get_kind(th_string id) {
  static const th_dataset_mixer_api api = {.struct_size = sizeof api, .create = create, .destroy = destroy, .plan = plan, .counts = counts};
  return id.length == strlen(TH_KIND_DATASET_MIXER) && memcmp(id.data, TH_KIND_DATASET_MIXER, id.length) == 0 ? &api : NULL;
}

const th_plugin *trainhost_plugin_entry(const th_host *host) {
  static const th_plugin plugin = {.struct_size = sizeof plugin, .get_kind = get_kind};
  (void)host;
  return &plugin;
}
