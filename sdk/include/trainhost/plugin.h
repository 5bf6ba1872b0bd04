/* The one symbol that a plugin exports. Its manifest (ELF section ".trainhost.manifest", put there by trainhost_add_plugin())
 * was read and checked before any of its code runs. */
#pragma once

#include "host.h"

typedef struct th_plugin {
  uint32_t struct_size, reserved;
  /* The table of a kind, e.g. th_optimizer_api for "th.kind.optimizer/1", or null. Static memory. [init] */
  const void *(*get_kind)(th_string kind_id);
} th_plugin;

#if defined(__cplusplus)
#define TRAINHOST_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define TRAINHOST_EXPORT __attribute__((visibility("default")))
#endif

/* Called once per process, before anything else. Starts no threads, touches no device, takes under 100 ms. Returns static memory;
 * null = refused, with the reason given by host->fail. [init] */
TRAINHOST_EXPORT const th_plugin *trainhost_plugin_entry(const th_host *host);
