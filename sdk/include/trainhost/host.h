/* What the host offers a plugin instance. The table is the instance's own, so the host knows who calls; it lives as long as the
 * instance. A slot exists when struct_size covers it. */
#pragma once

#include "tensor.h"

/* Thread tags, the last word of a slot's comment:
 *   [init]         the thread that assembles the run; never two at once in a process
 *   [step]         one symbolic thread per instance: any OS thread, never two at once
 *   [data-worker]  many at once, also on one instance; the slot reads the instance only
 *   [any-thread]   any, also from inside a parallel_for body */

typedef struct th_host th_host;
typedef struct th_config th_config; /* the instance's parameters, already checked against its manifest */

struct th_host {
  uint32_t struct_size;
  uint32_t abi_major, abi_minor; /* of the host */
  uint32_t reserved;

  /* Records the code and the text (copied) for the calling thread and returns the code: `return host->fail(host, ...)`. [any-thread] */
  th_status (*fail)(const th_host *, th_status code, th_string text);
  /* level: 0 debug, 1 info, 2 warning, 3 error. Does not block. [any-thread] */
  void (*log)(const th_host *, int32_t level, th_string text);
  /* A number for the run's metrics at the current step, shown as "<plugin name>/<name>". [any-thread] */
  void (*metric)(const th_host *, th_string name, double value);
  /* Shows the user how far long work is: done of total, in any one unit; done == total ends it. At most a few calls a second. [any-thread]
   */
  void (*progress)(const th_host *, th_string what, uint64_t done, uint64_t total);

  /* Memory on the instance's device, counted against it; contents are undefined. Null when there is none: return
   * TH_OUT_OF_MEMORY. alignment is a power of two. On CUDA both are ordered on `stream`; on CPUs it is null. The plugin gives back
   * each block with its size. [any-thread] */
  void *(*allocate)(const th_host *, size_t bytes, size_t alignment, void *stream);
  void (*deallocate)(const th_host *, void *memory, size_t bytes, void *stream);

  /* Runs body(context, begin, end) over [0, count) on the process's one thread pool in pieces of at least `grain`; returns when all
   * are done. Called from inside a body it runs inline. The cut depends on count, grain and the number of threads only. [any-thread] */
  void (*parallel_for)(const th_host *, int64_t count, int64_t grain, void (*body)(void *context, int64_t begin, int64_t end),
                       void *context);

  /* Non-zero once the run is being stopped; poll it in work that takes longer than a second. [any-thread] */
  int32_t (*cancelled)(const th_host *);

  /* Parameters of the instance: name and type as in the manifest; a name or type that is not there fails with TH_INTERNAL and
   * leaves *out alone. Strings live as long as the instance. An amount ("2%", "500 steps", "2M tokens") comes resolved, in tokens of
   * the run's token axis. [init] */
  th_status (*get_integer)(const th_config *, th_string name, int64_t *out);
  th_status (*get_number)(const th_config *, th_string name, double *out);
  th_status (*get_boolean)(const th_config *, th_string name, int32_t *out);
  th_status (*get_string)(const th_config *, th_string name, th_string *out);
  th_status (*get_amount)(const th_config *, th_string name, double *out_tokens);
  /* Of an amount that stands in a string, as those of "2%: 1, 500 steps: 0.5". A text that is no amount, or an instance without a token
   * axis, fails with TH_INVALID and says so; *out_tokens is left alone. [init] */
  th_status (*resolve_amount)(const th_config *, th_string text, double *out_tokens);

  /* Optional services by id ("th.rng/1", ...), or null. The table lives as long as the instance. [init] */
  const void *(*get_extension)(const th_host *, th_string id);
};

/* Where a run stands, on its token axis. Whatever depends on progress is a function of this and of nothing else. */
typedef struct th_progress {
  uint32_t struct_size;
  uint32_t phase;                              /* index of the phase in the recipe */
  uint64_t step, total_steps;                  /* optimizer steps done before this one; of the run */
  uint64_t tokens, total_tokens;               /* consumed before this step; of the run */
  uint64_t phase_first_token, phase_end_token; /* of this phase: [first, end) */
} th_progress;
