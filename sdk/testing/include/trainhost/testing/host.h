/* A host for the tests of a plugin: header-only, C11 and C++. It opens a plugin as the real one does, gives it the parameters that the
 * test sets, and keeps what the plugin says and takes.
 *
 *   static th_test_host host;                            zeroed, as static memory is
 *   th_test_host_begin(&host);
 *   th_test_set_number(&host, "peak_lr", 0.1);
 *   const th_lr_scheduler_api *api = (const th_lr_scheduler_api *)th_test_open(&host, "./mine.so", TH_KIND_LR_SCHEDULER);
 *   TH_TEST(api->create(&host.table, th_test_config(&host), &run, &scheduler) == TH_OK);
 *
 * All of it belongs to one thread. What it cannot do itself (a plugin that does not open, too many parameters) ends the test's
 * process with the reason. */
#pragma once

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trainhost/plugin.h>

#define TH_TEST_PARAMETERS 64 /* at most so many are set */

typedef enum th_test_type { TH_TEST_INTEGER, TH_TEST_NUMBER, TH_TEST_BOOLEAN, TH_TEST_STRING, TH_TEST_AMOUNT } th_test_type;

typedef struct th_test_parameter {
  const char *name;
  th_test_type type;
  int64_t integer; /* also a boolean */
  double number;   /* also an amount, in tokens */
  const char *text;
} th_test_parameter;

typedef struct th_test_host {
  th_host table; /* what a plugin is given: &host.table. First, so that the table leads back to the host. */
  th_test_parameter parameters[TH_TEST_PARAMETERS];
  size_t parameter_count;

  /* Of the last fail: its code and the text, cut to what fits. */
  th_status failure_code;
  char failure[512];

  /* What amounts in strings are resolved with; the test sets them. */
  double step_tokens, total_tokens;

  uint64_t allocations;      /* calls of allocate so far */
  uint64_t blocks, bytes;    /* handed out and not given back; 0 after destroy, or the plugin leaks */
  uint64_t allocation_limit; /* allocate gives null once `allocations` has reached it; UINT64_MAX at first: never */
  int32_t cancelled;         /* what the plugin's cancelled() gives; the test sets it */

  /* The optional services; null: there are none, as on the smallest host. The test sets it. */
  const void *(*extension)(th_string id);
} th_test_host;

/* Ends the process with exit status 1 unless the condition holds; says where. */
#define TH_TEST(condition) ((condition) ? (void)0 : th_test_fail(__FILE__, __LINE__, #condition))

static inline void th_test_fail(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: %s\n", file, line, what);
  exit(1);
}

static inline th_string th_test_string(const char *text) {
  th_string made;
  made.data = text;
  made.length = strlen(text);
  return made;
}

static inline int th_test_same(th_string text, const char *other) {
  return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

/* Whether a and b differ by at most `tolerance`; no where one is not a number. */
static inline int th_test_near(double a, double b, double tolerance) { return a - b <= tolerance && b - a <= tolerance; }

static inline th_test_host *th_test_host_of(const th_host *table) { return (th_test_host *)(uintptr_t)table; }

/* ---- the slots of th_host ---- */

static inline th_status th_test_on_fail(const th_host *table, th_status code, th_string text) {
  th_test_host *host = th_test_host_of(table);
  const size_t length = text.length < sizeof host->failure ? text.length : sizeof host->failure - 1;
  host->failure_code = code;
  memcpy(host->failure, text.data, length);
  host->failure[length] = '\0';
  return code;
}

static inline void th_test_on_log(const th_host *table, int32_t level, th_string text) {
  (void)table;
  fprintf(stderr, "log %d: %.*s\n", (int)level, (int)text.length, text.data);
}

static inline void th_test_on_metric(const th_host *table, th_string name, double value) { (void)table, (void)name, (void)value; }

static inline void th_test_on_progress(const th_host *table, th_string what, uint64_t done, uint64_t total) {
  (void)table, (void)what, (void)done, (void)total;
}

static inline void *th_test_allocate(const th_host *table, size_t bytes, size_t alignment, void *stream) {
  th_test_host *host = th_test_host_of(table);
  void *memory = NULL;
  (void)stream;
  if (host->allocations >= host->allocation_limit) return NULL;
  ++host->allocations;
  if (alignment < sizeof(void *)) alignment = sizeof(void *);
  memory = aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
  if (memory == NULL) return NULL;
  memset(memory, 0xA5, bytes); /* contents are undefined: nobody may rely on zeros */
  ++host->blocks;
  host->bytes += bytes;
  return memory;
}

static inline void th_test_deallocate(const th_host *table, void *memory, size_t bytes, void *stream) {
  th_test_host *host = th_test_host_of(table);
  (void)stream;
  if (memory == NULL) return;
  --host->blocks;
  host->bytes -= bytes;
  free(memory);
}

/* Two pieces where the grain allows it, the second one first: a body may depend neither on the cut nor on the order. */
static inline void th_test_parallel_for(const th_host *table, int64_t count, int64_t grain, void (*body)(void *, int64_t, int64_t),
                                        void *context) {
  const int64_t middle = grain < 1 ? count / 2 : count / 2 / grain * grain;
  (void)table;
  if (middle < count) body(context, middle, count);
  if (middle > 0) body(context, 0, middle);
}

static inline int32_t th_test_cancelled(const th_host *table) { return th_test_host_of(table)->cancelled; }

static inline const th_test_parameter *th_test_find(const th_config *config, th_string name, th_test_type type) {
  static const char *const types[] = {"integer", "number", "boolean", "string", "amount"};
  th_test_host *host = (th_test_host *)(uintptr_t)config;
  char text[200];
  for (size_t i = 0; i < host->parameter_count; ++i) {
    if (host->parameters[i].type == type && th_test_same(name, host->parameters[i].name)) return &host->parameters[i];
  }
  snprintf(text, sizeof text, "the test has set no %s parameter \"%.*s\"", types[type], (int)name.length, name.data);
  th_test_on_fail(&host->table, TH_INTERNAL, th_test_string(text));
  return NULL;
}

static inline th_status th_test_get_integer(const th_config *config, th_string name, int64_t *out) {
  const th_test_parameter *found = th_test_find(config, name, TH_TEST_INTEGER);
  if (found == NULL) return TH_INTERNAL;
  *out = found->integer;
  return TH_OK;
}

static inline th_status th_test_get_number(const th_config *config, th_string name, double *out) {
  const th_test_parameter *found = th_test_find(config, name, TH_TEST_NUMBER);
  if (found == NULL) return TH_INTERNAL;
  *out = found->number;
  return TH_OK;
}

static inline th_status th_test_get_boolean(const th_config *config, th_string name, int32_t *out) {
  const th_test_parameter *found = th_test_find(config, name, TH_TEST_BOOLEAN);
  if (found == NULL) return TH_INTERNAL;
  *out = found->integer != 0;
  return TH_OK;
}

static inline th_status th_test_get_string(const th_config *config, th_string name, th_string *out) {
  const th_test_parameter *found = th_test_find(config, name, TH_TEST_STRING);
  if (found == NULL) return TH_INTERNAL;
  *out = th_test_string(found->text);
  return TH_OK;
}

static inline th_status th_test_get_amount(const th_config *config, th_string name, double *out_tokens) {
  const th_test_parameter *found = th_test_find(config, name, TH_TEST_AMOUNT);
  if (found == NULL) return TH_INTERNAL;
  *out_tokens = found->number;
  return TH_OK;
}

/* "500 steps", "10%" and "2000 tokens", without the suffixes k, M, ... of the real host. */
static inline th_status th_test_resolve_amount(const th_config *config, th_string text, double *out_tokens) {
  th_test_host *host = (th_test_host *)(uintptr_t)config;
  char copy[64] = {0}, *unit = copy;
  double value = 0;
  if (text.length < sizeof copy) memcpy(copy, text.data, text.length);
  value = strtod(copy, &unit);
  if (unit != copy && strcmp(unit, "%") == 0) {
    *out_tokens = value / 100 * host->total_tokens;
  } else if (unit != copy && strcmp(unit, " steps") == 0) {
    *out_tokens = value * host->step_tokens;
  } else if (unit != copy && strcmp(unit, " tokens") == 0) {
    *out_tokens = value;
  } else {
    return th_test_on_fail(&host->table, TH_INVALID, th_test_string("the text is no amount"));
  }
  return TH_OK;
}

static inline const void *th_test_get_extension(const th_host *table, th_string id) {
  th_test_host *host = th_test_host_of(table);
  return host->extension == NULL ? NULL : host->extension(id);
}

/* ---- what a test calls ---- */

/* Makes the host ready: no parameters, nothing counted, no extensions. */
static inline void th_test_host_begin(th_test_host *host) {
  memset(host, 0, sizeof *host);
  host->allocation_limit = UINT64_MAX;
  host->table.struct_size = sizeof host->table;
  host->table.abi_major = TRAINHOST_ABI_MAJOR;
  host->table.abi_minor = TRAINHOST_ABI_MINOR;
  host->table.fail = th_test_on_fail;
  host->table.log = th_test_on_log;
  host->table.metric = th_test_on_metric;
  host->table.progress = th_test_on_progress;
  host->table.allocate = th_test_allocate;
  host->table.deallocate = th_test_deallocate;
  host->table.parallel_for = th_test_parallel_for;
  host->table.cancelled = th_test_cancelled;
  host->table.get_integer = th_test_get_integer;
  host->table.get_number = th_test_get_number;
  host->table.get_boolean = th_test_get_boolean;
  host->table.get_string = th_test_get_string;
  host->table.get_amount = th_test_get_amount;
  host->table.resolve_amount = th_test_resolve_amount;
  host->table.get_extension = th_test_get_extension;
}

/* The parameter of this name, made where there is none yet. */
static inline th_test_parameter *th_test_parameter_of(th_test_host *host, const char *name, th_test_type type) {
  size_t i = 0;
  while (i < host->parameter_count && strcmp(host->parameters[i].name, name) != 0) ++i;
  TH_TEST(i < TH_TEST_PARAMETERS);
  if (i == host->parameter_count) ++host->parameter_count;
  host->parameters[i].name = name;
  host->parameters[i].type = type;
  return &host->parameters[i];
}

/* Set a parameter of the instances that are created from now on. Nothing is checked against the manifest, and there are no defaults. Name
 * and text stay the test's, and are to live as long as the host. */
static inline void th_test_set_integer(th_test_host *host, const char *name, int64_t value) {
  th_test_parameter_of(host, name, TH_TEST_INTEGER)->integer = value;
}
static inline void th_test_set_number(th_test_host *host, const char *name, double value) {
  th_test_parameter_of(host, name, TH_TEST_NUMBER)->number = value;
}
static inline void th_test_set_boolean(th_test_host *host, const char *name, int32_t value) {
  th_test_parameter_of(host, name, TH_TEST_BOOLEAN)->integer = value;
}
static inline void th_test_set_string(th_test_host *host, const char *name, const char *value) {
  th_test_parameter_of(host, name, TH_TEST_STRING)->text = value;
}
static inline void th_test_set_amount(th_test_host *host, const char *name, double tokens) {
  th_test_parameter_of(host, name, TH_TEST_AMOUNT)->number = tokens;
}

/* What the create slots take as th_config: the parameters of this host. */
static inline const th_config *th_test_config(const th_test_host *host) { return (const th_config *)host; }

/* Opens the plugin, which stays loaded, and gives its table of the kind. path: with a '/', or the loader looks elsewhere. */
static inline const void *th_test_open(th_test_host *host, const char *path, const char *kind_id) {
  const th_plugin *(*entry)(const th_host *) = NULL;
  const th_plugin *plugin = NULL;
  const void *api = NULL;
  void *symbol = NULL;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) th_test_fail(path, 0, dlerror());
  symbol = dlsym(library, "trainhost_plugin_entry");
  if (symbol == NULL) th_test_fail(path, 0, dlerror());
  memcpy(&entry, &symbol, sizeof entry); /* no cast leads from an object's pointer to a function's */
  plugin = entry(&host->table);
  if (plugin == NULL) th_test_fail(path, 0, host->failure);
  api = plugin->get_kind(th_test_string(kind_id));
  if (api == NULL) th_test_fail(path, 0, "it has no table of this kind");
  return api;
}
