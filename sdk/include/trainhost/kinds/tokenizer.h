/* Tokenizer: bytes to ids and back, exactly. */
#pragma once

#include "../host.h"

#define TH_KIND_TOKENIZER "th.kind.tokenizer/1"

typedef struct th_tokenizer th_tokenizer;

typedef struct th_tokenizer_info {
  uint32_t struct_size, vocabulary_size; /* ids are 0 .. vocabulary_size - 1 */
  int32_t end_id;                        /* put by the host after each document; -1: none */
  uint32_t reserved;
  uint8_t fingerprint[32]; /* equal fingerprints: equal ids for every text */
} th_tokenizer_info;

typedef struct th_tokenizer_api {
  uint32_t struct_size, reserved;
  /* state: what th.tokenizer.train/1 produced; empty for tokenizers that need none. On failure *out is untouched. [init] */
  th_status (*create)(const th_host *, const th_config *, th_bytes state, th_tokenizer **out);
  void (*destroy)(th_tokenizer *);                                     /* [init] */
  th_status (*describe)(const th_tokenizer *, th_tokenizer_info *out); /* [any-thread] */
  /* Any bytes, valid UTF-8 or not, in time linear in their length; the spelling of a special token in the text is ordinary text.
   * ids: items are uint32_t. [data-worker] */
  th_status (*encode)(const th_tokenizer *, th_bytes text, const th_sink *ids);
  /* decode(encode(x)) == x for every x; special tokens decode to nothing. An id >= vocabulary_size is TH_INVALID.
   * bytes: items are uint8_t. [data-worker] */
  th_status (*decode)(const th_tokenizer *, const uint32_t *ids, size_t count, const th_sink *bytes);
  /* The instance may be null when the extension needs none, as ext/tokenizer_train.h. Slot may be null. [init] */
  const void *(*get_extension)(const th_tokenizer *, th_string id);
} th_tokenizer_api;
