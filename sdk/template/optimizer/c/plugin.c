/* Gradient descent with momentum (Polyak 1964) and decoupled weight decay. With g = gradient_scale x gradient and
 * d = weight_decay x weight_decay_multiplier, each element on its own:
 *   v = momentum v + g;   p -= lr (v + d p) */
#include <trainhost/kinds/optimizer.h>
#include <trainhost/plugin.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(literal) ((th_string){literal, sizeof(literal) - 1})

enum { kGrain = 16384 }; /* elements that are worth a thread */

struct th_optimizer {
  const th_host *host;
  double momentum, weight_decay;
};

/* What one parameter's update needs, for the bodies of parallel_for. */
typedef struct step {
  float rate, momentum, decay, gradient_scale;
  float *master, *velocity;
  const float *gradient;
  uint16_t *copy; /* bfloat16, or null */
} step;

static void *items(const th_tensor *tensor) { return (char *)tensor->data + tensor->byte_offset; }

static int64_t elements(const th_tensor *tensor) {
  int64_t count = 1;
  for (int32_t i = 0; i < tensor->rank; ++i) count *= tensor->shape[i];
  return count;
}

/* The nearest bfloat16; a tie goes to the even one. */
static uint16_t to_bfloat16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static th_status create(const th_host *host, const th_config *config, th_optimizer **out) {
  th_optimizer made = {.host = host};
  th_status status = host->get_number(config, TEXT("momentum"), &made.momentum);
  if (status == TH_OK) status = host->get_number(config, TEXT("weight_decay"), &made.weight_decay);
  if (status != TH_OK) return status;
  th_optimizer *self = malloc(sizeof *self);
  if (self == NULL) return host->fail(host, TH_OUT_OF_MEMORY, TEXT("no memory for the optimizer"));
  *self = made;
  *out = self;
  return TH_OK;
}

static void destroy(th_optimizer *self) { free(self); }

/* Each element on its own: the host may cut a parameter anywhere and spread the pieces over processes. */
static int32_t granularity(const th_optimizer *self) {
  (void)self;
  return TH_GRANULARITY_ELEMENT;
}

/* The velocities are the host's: it allocates, saves and cuts them. */
static th_status describe_states(const th_optimizer *self, const th_parameter_info *parameter, th_state_info *out, uint32_t capacity,
                                 uint32_t *count) {
  (void)self, (void)parameter;
  *count = 1;
  if (capacity == 0) return TH_OK;
  out[0] = (th_state_info){
      .struct_size = sizeof out[0], .rank = -1, .name = TEXT("velocity"), .dtype_code = TH_DTYPE_FLOAT, .dtype_bits = 32, .initial = 0};
  return TH_OK;
}

static void step_elements(void *context, int64_t begin, int64_t end) {
  const step s = *(const step *)context;
  for (int64_t i = begin; i < end; ++i) {
    s.velocity[i] = s.momentum * s.velocity[i] + s.gradient_scale * s.gradient[i];
    s.master[i] -= s.rate * (s.velocity[i] + s.decay * s.master[i]);
    if (s.copy != NULL) s.copy[i] = to_bfloat16(s.master[i]);
  }
}

static th_status update(th_optimizer *self, const th_update_call *call, const th_update *updates, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) { /* all of them first: on failure no element has changed */
    if (updates[i].master.device_type != TH_DEVICE_CPU) {
      return self->host->fail(self->host, TH_UNSUPPORTED, TEXT("it runs on CPUs only: set device = \"cpu\""));
    }
  }
  for (uint32_t i = 0; i < count; ++i) {
    const th_update *one = &updates[i];
    step s = {.rate = (float)one->learning_rate,
              .momentum = (float)(isnan(call->momentum) ? self->momentum : call->momentum),
              .decay = (float)(self->weight_decay * one->weight_decay_multiplier),
              .gradient_scale = *call->gradient_scale,
              .master = items(&one->master),
              .velocity = items(&one->states[0]),
              .gradient = items(&one->gradient),
              .copy = one->compute_copy.data == NULL ? NULL : items(&one->compute_copy)};
    self->host->parallel_for(self->host, elements(&one->master), kGrain, step_elements, &s);
  }
  return TH_OK;
}

static const void *get_kind(th_string id) {
  static const th_optimizer_api api = {.struct_size = sizeof api,
                                       .create = create,
                                       .destroy = destroy,
                                       .granularity = granularity,
                                       .describe_states = describe_states,
                                       .update = update};
  return id.length == strlen(TH_KIND_OPTIMIZER) && memcmp(id.data, TH_KIND_OPTIMIZER, id.length) == 0 ? &api : NULL;
}

const th_plugin *trainhost_plugin_entry(const th_host *host) {
  static const th_plugin plugin = {.struct_size = sizeof plugin, .get_kind = get_kind};
  (void)host;
  return &plugin;
}
