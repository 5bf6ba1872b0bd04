/* A byte is its own id, 256 ends a document, and 257 + n - 2 is a run of n spaces, 2 <= n <= longest_run: what indents source code. A
 * longer run is cut from its front. */
#include <trainhost/kinds/tokenizer.h>
#include <trainhost/plugin.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(literal) ((th_string){literal, sizeof(literal) - 1})

enum {
  kEnd = 256,
  kRuns = 257, /* kRuns: the id of two spaces */
  kBlock = 1024
}; /* items per call of a sink */

static const char kFingerprint[] = "bytes and runs of spaces, 1"; /* change it when ids change */

struct th_tokenizer {
  const th_host *host;
  uint32_t longest_run, vocabulary_size;
};

static th_status create(const th_host *host, const th_config *config, th_bytes state, th_tokenizer **out) {
  int64_t longest_run = 0;
  const th_status status = host->get_integer(config, TEXT("longest_run"), &longest_run);
  if (status != TH_OK) return status;
  if (state.length != 0) return host->fail(host, TH_INVALID, TEXT("it was given a state; expected none: it is not trained"));
  th_tokenizer *self = malloc(sizeof *self);
  if (self == NULL) return host->fail(host, TH_OUT_OF_MEMORY, TEXT("no memory for the tokenizer"));
  *self = (th_tokenizer){.host = host, .longest_run = (uint32_t)longest_run, .vocabulary_size = kRuns + (uint32_t)longest_run - 1};
  *out = self;
  return TH_OK;
}

static void destroy(th_tokenizer *self) { free(self); }

static th_status describe(const th_tokenizer *self, th_tokenizer_info *out) {
  out->vocabulary_size = self->vocabulary_size;
  out->end_id = kEnd;
  memset(out->fingerprint, 0, sizeof out->fingerprint);
  memcpy(out->fingerprint, kFingerprint, sizeof kFingerprint);
  out->fingerprint[sizeof out->fingerprint - 1] = (uint8_t)self->longest_run;
  return TH_OK;
}

/* How many spaces follow from i on, at most longest_run. */
static size_t spaces_at(const th_tokenizer *self, th_bytes text, size_t i) {
  size_t run = 0;
  while (run < self->longest_run && i + run < text.length && text.data[i + run] == ' ') ++run;
  return run;
}

static th_status encode(const th_tokenizer *self, th_bytes text, const th_sink *ids) {
  uint32_t block[kBlock];
  size_t filled = 0;
  for (size_t i = 0; i < text.length;) {
    const size_t run = spaces_at(self, text, i);
    block[filled++] = run < 2 ? text.data[i] : kRuns + (uint32_t)run - 2;
    i += run < 2 ? 1 : run;
    if (filled < kBlock && i < text.length) continue;
    const th_status status = ids->append(ids->context, block, filled);
    if (status != TH_OK) return status;
    filled = 0;
  }
  return TH_OK;
}

static th_status refuse_id(const th_tokenizer *self, uint32_t id) {
  char text[200];
  const int length =
      snprintf(text, sizeof text, "id %u is not in the vocabulary: expected 0 to %u", (unsigned)id, (unsigned)self->vocabulary_size - 1);
  return self->host->fail(self->host, TH_INVALID, (th_string){text, (size_t)length});
}

static th_status decode(const th_tokenizer *self, const uint32_t *ids, size_t count, const th_sink *bytes) {
  uint8_t block[kBlock];
  size_t filled = 0;
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] >= self->vocabulary_size) return refuse_id(self, ids[i]);
    const size_t length = ids[i] < kEnd ? 1 : ids[i] == kEnd ? 0 : ids[i] - kRuns + 2;
    memset(block + filled, ids[i] < kEnd ? (int)ids[i] : ' ', length);
    filled += length;
    if (filled + 255 < kBlock && i + 1 < count) continue; /* 255: the longest run that the manifest allows */
    const th_status status = bytes->append(bytes->context, block, filled);
    if (status != TH_OK) return status;
    filled = 0;
  }
  return TH_OK;
}

static const void *get_kind(th_string id) {
  static const th_tokenizer_api api = {
      .struct_size = sizeof api, .create = create, .destroy = destroy, .describe = describe, .encode = encode, .decode = decode};
  return id.length == strlen(TH_KIND_TOKENIZER) && memcmp(id.data, TH_KIND_TOKENIZER, id.length) == 0 ? &api : NULL;
}

const th_plugin *trainhost_plugin_entry(const th_host *host) {
  static const th_plugin plugin = {.struct_size = sizeof plugin, .get_kind = get_kind};
  (void)host;
  return &plugin;
}
