/* Calls the plugin as the host does, through its C table, and compares with words counted by hand: test FILE.so */
#include <trainhost/ext/tokenizer_train.h>
#include <trainhost/testing/host.h>

enum { kMost = 70000 };

static th_test_host host;
static const th_tokenizer_api *api;
static th_tokenizer *tokenizer;

/* What a sink was given. */
static uint32_t ids[kMost];
static uint8_t bytes[kMost], state[kMost];
static size_t id_count, byte_count, state_size;

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

static th_status take_state(void *context, const void *items, size_t count) {
  (void)context;
  TH_TEST(state_size + count <= kMost);
  memcpy(state + state_size, items, count);
  state_size += count;
  return TH_OK;
}

static const char *const kDocuments[] = {"the cat and the dog and the mat", "", "Is the cat\xC3\xA9 a cat? a cat.", NULL};

static th_status next_document(void *context, th_bytes *document) {
  size_t *given = (size_t *)context;
  const char *text = kDocuments[*given];
  document->data = (const uint8_t *)text;
  document->length = text == NULL ? 0 : strlen(text);
  if (text != NULL) ++*given;
  return TH_OK;
}

/* " cat" and " the" come 3 times, " a" and " and" 2 times, "the", " dog", " mat", "Is" and " cat\xC3\xA9" once. */
static th_status train(int64_t vocabulary_size, int64_t fewest) {
  const th_tokenizer_train *training = (const th_tokenizer_train *)api->get_extension(NULL, th_test_string(TH_EXT_TOKENIZER_TRAIN));
  size_t given = 0;
  const th_document_source documents = {.context = &given, .next = next_document, .total_bytes = 60};
  const th_sink sink = {.append = take_state};
  TH_TEST(training != NULL);
  th_test_set_integer(&host, "vocabulary_size", vocabulary_size);
  th_test_set_integer(&host, "fewest", fewest);
  state_size = 0;
  return training->train(&host.table, th_test_config(&host), &documents, &sink);
}

static th_status create(size_t size) {
  const th_bytes given = {state, size};
  tokenizer = NULL;
  return api->create(&host.table, th_test_config(&host), given, &tokenizer);
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

static void gives_the_frequent_words_their_ids(void) {
  th_tokenizer_info info = {.struct_size = sizeof info};
  const uint32_t expected[] = {'t', 'h', 'e', 257, 259, ' ', 'd', 'o', 'g', '!', 258};
  TH_TEST(train(8192, 2) == TH_OK && create(state_size) == TH_OK);
  TH_TEST(api->describe(tokenizer, &info) == TH_OK && info.vocabulary_size == 261 && info.end_id == 256);
  encode("the cat a dog! the", 18); /* 257 " cat", 258 " the", 259 " a", 260 " and": of equal counts the first by its bytes */
  TH_TEST(id_count == 11 && memcmp(ids, expected, sizeof expected) == 0);
  encode(" andy", 5); /* the longest match, not the longest word */
  TH_TEST(id_count == 2 && ids[0] == 260 && ids[1] == 'y');
  api->destroy(tokenizer);
}

static void keeps_to_the_vocabulary_size(void) {
  const uint32_t the[] = {' ', 't', 'h', 'e'};
  TH_TEST(train(258, 1) == TH_OK && create(state_size) == TH_OK);
  encode(" cat the", 8);
  TH_TEST(id_count == 5 && ids[0] == 257 && memcmp(ids + 1, the, sizeof the) == 0);
  api->destroy(tokenizer);
}

/* The format that vocabulary.h describes. */
static void writes_the_documented_state(void) {
  static const uint8_t expected[] = "words/1\n\x02\0\0\0\x04 cat\x04 the";
  TH_TEST(train(259, 1) == TH_OK && state_size == 12 + 5 + 5 + 8 && memcmp(state, expected, 22) == 0);
}

static void comes_back_exactly(void) {
  static uint8_t text[kMost];
  uint32_t random = 1;
  TH_TEST(train(8192, 1) == TH_OK && create(state_size) == TH_OK);
  for (size_t i = 0; i < kMost; ++i) {
    random = random * 1664525 + 1013904223; /* Numerical Recipes' */
    text[i] = random >> 31 ? (uint8_t) " the cat and a"[(random >> 16) % 14] : (uint8_t)(random >> 16);
  }
  for (size_t length = 0; length <= kMost; length = length * 3 + 1) {
    encode(text, length);
    TH_TEST(decode(ids, id_count) == TH_OK);
    TH_TEST(byte_count == length && memcmp(bytes, text, length) == 0);
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const uint8_t one = (uint8_t)byte;
    encode(&one, 1);
    TH_TEST(id_count == 1 && ids[0] == byte);
  }
  api->destroy(tokenizer);
}

static void refuses_what_is_not_an_id(void) {
  const uint32_t given[] = {'a', 256, 'b', 261};
  TH_TEST(train(8192, 2) == TH_OK && create(state_size) == TH_OK);
  TH_TEST(decode(given, 3) == TH_OK && byte_count == 2 && memcmp(bytes, "ab", 2) == 0);
  TH_TEST(decode(given, 4) == TH_INVALID && strstr(host.failure, "id 261") != NULL);
  api->destroy(tokenizer);
}

static uint64_t hash_of_state(size_t size) {
  uint64_t hash = UINT64_C(0xCBF29CE484222325);
  for (size_t i = 0; i < size; ++i) hash = (hash ^ state[i]) * UINT64_C(0x100000001B3);
  return hash;
}

/* Changes a byte and mends the hash, as a wrong program would. */
static void refuses_with_hash(size_t at, uint8_t value, const char *reason) {
  TH_TEST(train(259, 1) == TH_OK);
  state[at] = value;
  const uint64_t hash = hash_of_state(state_size - 8);
  for (size_t i = 0; i < 8; ++i) state[state_size - 8 + i] = (uint8_t)(hash >> 8 * i);
  TH_TEST(create(state_size) == TH_CORRUPT && tokenizer == NULL);
  if (strstr(host.failure, reason) == NULL) th_test_fail(reason, 0, host.failure);
}

static void refuses_a_damaged_state(void) {
  TH_TEST(train(8192, 1) == TH_OK);
  for (size_t size = 1; size < state_size; ++size) TH_TEST(create(size) == TH_CORRUPT && tokenizer == NULL);
  for (size_t at = 0; at < state_size; ++at) {
    state[at] ^= 1;
    TH_TEST(create(state_size) == TH_CORRUPT && tokenizer == NULL);
    state[at] ^= 1;
  }
  refuses_with_hash(0, 'W', "does not begin with \"words/1\"");
  refuses_with_hash(8, 3, "has 2 words, but says 3");
  refuses_with_hash(12, 1, "has a word 0 of 1 bytes");
  refuses_with_hash(17, 5, "ends within word 1");
  refuses_with_hash(12, 9, "has 1 words, but says 2");
}

static void stops_when_the_run_does(void) {
  host.cancelled = 1;
  TH_TEST(train(8192, 1) == TH_CANCELLED && state_size == 0);
  host.cancelled = 0;
}

int main(int count, char **arguments) {
  TH_TEST(count == 2);
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_TOKENIZER);
  gives_the_frequent_words_their_ids();
  keeps_to_the_vocabulary_size();
  writes_the_documented_state();
  comes_back_exactly();
  refuses_what_is_not_an_id();
  refuses_a_damaged_state();
  stops_when_the_run_does();
  TH_TEST(host.blocks == 0);
  return 0;
}
