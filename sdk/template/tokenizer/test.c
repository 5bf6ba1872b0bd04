/* Calls the plugin as the host does, through its C table, and compares with ids spelt out by hand: test FILE.so */
#include <trainhost/kinds/tokenizer.h>
#include <trainhost/testing/host.h>

enum { kMost = 100000 };

static th_test_host host;
static const th_tokenizer_api *api;
static th_tokenizer *tokenizer;

/* What a sink was given. */
static uint32_t ids[kMost];
static uint8_t bytes[kMost];
static size_t id_count, byte_count;

static th_status take_ids(void *context, const void *items, size_t count) {
  (void)context;
  TH_TEST(id_count + count <= kMost);
  memcpy(ids + id_count, items, count * sizeof(uint32_t));
  id_count += count;
  return TH_OK;
}

static th_status take_bytes(void *context, const void *items, size_t count) {
  (void)context;
  TH_TEST(byte_count + count <= kMost);
  memcpy(bytes + byte_count, items, count);
  byte_count += count;
  return TH_OK;
}

static void encode(const void *text, size_t length) {
  const th_sink sink = {.append = take_ids};
  const th_bytes given = {text, length};
  id_count = 0;
  TH_TEST(api->encode(tokenizer, given, &sink) == TH_OK);
}

static th_status decode(const uint32_t *given, size_t count) {
  const th_sink sink = {.append = take_bytes};
  byte_count = 0;
  return api->decode(tokenizer, given, count, &sink);
}

static void describes_itself(void) {
  th_tokenizer_info info = {.struct_size = sizeof info};
  TH_TEST(api->describe(tokenizer, &info) == TH_OK);
  TH_TEST(info.vocabulary_size == 260 && info.end_id == 256); /* 256 bytes, the end, runs of 2, 3 and 4 spaces */
}

/* 7 spaces are a run of 4 and a run of 3. */
static void gives_runs_of_spaces_their_ids(void) {
  const uint32_t expected[] = {'a', ' ', 'b', 257, 'c', 259, 258, 0xFF};
  encode("a b  c       \xFF", 14);
  TH_TEST(id_count == 8 && memcmp(ids, expected, sizeof expected) == 0);
}

/* All bytes, and runs of all lengths across the borders of the plugin's blocks. */
static void comes_back_exactly(void) {
  static uint8_t text[kMost];
  uint32_t random = 1;
  for (size_t i = 0; i < kMost; ++i) {
    random = random * 1664525 + 1013904223; /* Numerical Recipes' */
    text[i] = random >> 31 ? ' ' : (uint8_t)(random >> 16);
  }
  for (size_t length = 0; length <= kMost; length = length * 3 + 1) {
    encode(text, length);
    TH_TEST(decode(ids, id_count) == TH_OK);
    TH_TEST(byte_count == length && memcmp(bytes, text, length) == 0);
  }
}

/* Runs that fill the plugin's blocks to the brim. */
static void long_runs_come_back(void) {
  static uint8_t text[kMost];
  memset(text, ' ', kMost);
  for (size_t length = 1; length <= kMost; length = length * 2 + 1) {
    text[length / 2] = 'x';
    encode(text, length);
    TH_TEST(decode(ids, id_count) == TH_OK);
    TH_TEST(byte_count == length && memcmp(bytes, text, length) == 0);
    text[length / 2] = ' ';
  }
}

static void decodes_the_end_to_nothing(void) {
  const uint32_t given[] = {'a', 256, 'b'};
  TH_TEST(decode(given, 3) == TH_OK && byte_count == 2 && memcmp(bytes, "ab", 2) == 0);
}

static void refuses_an_id_outside_the_vocabulary(void) {
  const uint32_t given[] = {'a', 260};
  TH_TEST(decode(given, 2) == TH_INVALID && strstr(host.failure, "id 260") != NULL);
}

static void refuses_a_state(void) {
  const th_bytes state = {(const uint8_t *)"x", 1};
  th_tokenizer *made = NULL;
  TH_TEST(api->create(&host.table, th_test_config(&host), state, &made) == TH_INVALID && made == NULL);
}

static void begin(const char *file, int64_t longest_run) {
  const th_bytes none = {NULL, 0};
  th_test_host_begin(&host);
  api = th_test_open(&host, file, TH_KIND_TOKENIZER);
  th_test_set_integer(&host, "longest_run", longest_run);
  TH_TEST(api->create(&host.table, th_test_config(&host), none, &tokenizer) == TH_OK);
}

static void end(void) {
  api->destroy(tokenizer);
  TH_TEST(host.blocks == 0);
}

int main(int count, char **arguments) {
  TH_TEST(count == 2);
  begin(arguments[1], 4);
  describes_itself();
  gives_runs_of_spaces_their_ids();
  comes_back_exactly();
  decodes_the_end_to_nothing();
  refuses_an_id_outside_the_vocabulary();
  refuses_a_state();
  end();

  begin(arguments[1], 255); /* as long as the manifest allows */
  long_runs_come_back();
  end();
  return 0;
}
