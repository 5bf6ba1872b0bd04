/* Warm-up, then cosine waves that each start again at a lower top (Loshchilov and Hutter 2017, "SGDR"). With s the tokens so far, W the
 * warm-up and P the period:
 *   s < W:      peak s / W
 *   else:       peak shrink^n (floor + (1 - floor) (1 + cos(pi x)) / 2)   with (s - W) / P = n + x, n whole, 0 <= x < 1 */
#include <trainhost/kinds/lr_scheduler.h>
#include <trainhost/plugin.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(literal) ((th_string){literal, sizeof(literal) - 1})

struct th_lr_scheduler {
  double peak, warmup, period, floor, shrink; /* warmup and period in tokens, whatever unit the recipe used */
};

/* What a manifest cannot say is checked here. The host shows the text with the plugin's name before it. */
static th_status refuse_long_warmup(const th_host *host, double warmup, uint64_t total) {
  char text[200];
  const int length =
      snprintf(text, sizeof text, "warmup is %.0f tokens; expected less than the run's %llu", warmup, (unsigned long long)total);
  return host->fail(host, TH_INVALID, (th_string){text, (size_t)length});
}

static th_status create(const th_host *host, const th_config *config, const th_progress *run, th_lr_scheduler **out) {
  th_lr_scheduler made;
  th_status status = host->get_number(config, TEXT("peak_lr"), &made.peak);
  if (status == TH_OK) status = host->get_amount(config, TEXT("warmup"), &made.warmup);
  if (status == TH_OK) status = host->get_amount(config, TEXT("period"), &made.period);
  if (status == TH_OK) status = host->get_number(config, TEXT("floor"), &made.floor);
  if (status == TH_OK) status = host->get_number(config, TEXT("shrink"), &made.shrink);
  if (status != TH_OK) return status;
  if (made.warmup >= (double)run->total_tokens) return refuse_long_warmup(host, made.warmup, run->total_tokens);
  th_lr_scheduler *self = malloc(sizeof *self);
  if (self == NULL) return host->fail(host, TH_OUT_OF_MEMORY, TEXT("no memory for the scheduler"));
  *self = made;
  *out = self;
  return TH_OK;
}

static void destroy(th_lr_scheduler *self) { free(self); }

/* A function of `now` alone, so that a resumed run goes on with the same bits. */
static th_status values(const th_lr_scheduler *self, const th_progress *now, th_schedule_values *out) {
  static const double kPi = 3.14159265358979323846;
  const double tokens = (double)now->tokens;
  if (tokens < self->warmup) {
    out->learning_rate = self->peak * (tokens / self->warmup);
    out->stage = TEXT("warmup");
    return TH_OK;
  }
  const double waves = (tokens - self->warmup) / self->period, whole = floor(waves);
  const double height = (1 + cos(kPi * (waves - whole))) / 2;
  out->learning_rate = self->peak * pow(self->shrink, whole) * (self->floor + (1 - self->floor) * height);
  out->stage = TEXT("wave");
  return TH_OK;
}

static const void *get_kind(th_string id) {
  static const th_lr_scheduler_api api = {.struct_size = sizeof api, .create = create, .destroy = destroy, .values = values};
  return id.length == strlen(TH_KIND_LR_SCHEDULER) && memcmp(id.data, TH_KIND_LR_SCHEDULER, id.length) == 0 ? &api : NULL;
}

const th_plugin *trainhost_plugin_entry(const th_host *host) {
  static const th_plugin plugin = {.struct_size = sizeof plugin, .get_kind = get_kind};
  (void)host;
  return &plugin;
}
