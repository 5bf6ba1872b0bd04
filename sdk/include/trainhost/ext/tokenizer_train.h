/* Optional interface of a tokenizer plugin: making its state from text. Asked for with a null instance. */
#pragma once

#include "../kinds/tokenizer.h"

#define TH_EXT_TOKENIZER_TRAIN "th.tokenizer.train/1"

/* The host's documents, one after the other. next fills *document (valid until the next call) and returns TH_OK; after the last
 * one it sets document->data to null; that of an empty document is not null. Called from one thread. */
typedef struct th_document_source {
  void *context;
  th_status (*next)(void *context, th_bytes *document);
  uint64_t total_bytes; /* of all documents, for progress */
} th_document_source;

typedef struct th_tokenizer_train {
  uint32_t struct_size, reserved;
  /* Trains on all documents and appends the state to the sink (items are uint8_t). Same documents in the same order and same
   * parameters give the same bytes. Shows progress through the host and polls cancelled. [init] */
  th_status (*train)(const th_host *, const th_config *, const th_document_source *documents, const th_sink *state);
} th_tokenizer_train;
