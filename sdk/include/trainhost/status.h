/* Status, strings and bytes: the vocabulary of every call. Plain C11, also C++. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The ABI this header describes. A plugin built with 1.x loads in every host 1.y that covers the minimum_abi of its manifest. */
#define TRAINHOST_ABI_MAJOR 1
#define TRAINHOST_ABI_MINOR 1

/* Outcome of a call; 0 is success. The text of a failure is set through th_host.fail at the place where it happened. */
typedef int32_t th_status;
#define TH_OK 0
#define TH_INVALID 1       /* the caller's or the user's mistake; the text says which value was found and what was expected */
#define TH_UNSUPPORTED 2   /* a valid wish that this plugin or host cannot fulfil */
#define TH_OUT_OF_MEMORY 3 /* nothing was changed; the host may free memory and call again */
#define TH_CANCELLED 4     /* the call stopped because th_host.cancelled said so */
#define TH_CORRUPT 5       /* bytes or state failed their check */
#define TH_DEVICE_LOST 6   /* the device is unusable until the process ends */
#define TH_INTERNAL 7      /* a bug in the plugin */

/* UTF-8, not terminated. Whoever hands it over owns the memory; it is valid during the call unless a slot says more. */
typedef struct th_string {
  const char *data;
  size_t length;
} th_string;

/* Any bytes, under the same rule of ownership. */
typedef struct th_bytes {
  const uint8_t *data;
  size_t length;
} th_bytes;

/* The caller's receiver of a result whose length is not known before. Call append as often as needed, in order; the items are
 * copied. A failure of append is returned on as it is. What an item is (a byte, an id) is said by the slot that takes the sink. */
typedef struct th_sink {
  void *context;
  th_status (*append)(void *context, const void *items, size_t count);
} th_sink;
