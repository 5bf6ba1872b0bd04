/* A log-bilinear bigram model in plain C: how small a model plugin can be.
 *
 * V vocabulary, C rank. Unit 0 turns token i into the vector e = E[i], the last unit turns e into logits W e, with the two
 * parameters E [V, C] and W [V, C]. One thread, no memory but one row of logits; nothing is kept between forward and backward. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainhost/ext/model_logits.h"
#include "trainhost/ext/model_memory.h"
#include "trainhost/plugin.h"

#define TEXT(literal) ((th_string){literal, sizeof(literal) - 1})

struct th_model {
  const th_host *host;
  int64_t vocabulary, rank;
  double init_std;
  float *row; /* [V] */
};

static const uint32_t parameter_of_unit[2] = {0, 1}; /* E, W */

static int same(th_string text, const char *other) { return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0; }

static th_status create(const th_host *host, const th_config *config, const th_model_options *options, th_model **out) {
  if (options->device_type != TH_DEVICE_CPU || options->compute_code != TH_DTYPE_FLOAT || options->compute_bits != 32) {
    return host->fail(host, TH_UNSUPPORTED, TEXT("bigram runs on CPUs in float32 only; set device = \"cpu\" and precision = \"fp32\""));
  }
  th_model made = {.host = host, .vocabulary = options->vocabulary_size};
  th_status status = host->get_integer(config, TEXT("rank"), &made.rank);
  if (status == TH_OK) status = host->get_number(config, TEXT("init_std"), &made.init_std);
  if (status != TH_OK) return status;
  th_model *self = malloc(sizeof *self);
  made.row = malloc((size_t)made.vocabulary * sizeof(float));
  if (self == NULL || made.row == NULL) {
    free(self);
    free(made.row);
    return host->fail(host, TH_OUT_OF_MEMORY, TEXT("no memory for one row of logits"));
  }
  *self = made;
  *out = self;
  return TH_OK;
}

static void destroy(th_model *self) {
  free(self->row);
  free(self);
}

static uint32_t two(const th_model *self) {
  (void)self;
  return 2;
}

static th_status parameter_info(const th_model *self, uint32_t index, th_parameter_info *out) {
  *out = (th_parameter_info){.struct_size = sizeof *out,
                             .role = index == 0 ? TH_ROLE_EMBEDDING : TH_ROLE_HEAD,
                             .rank = 2,
                             .name = index == 0 ? TEXT("embedding.weight") : TEXT("head.weight"),
                             .shape = {self->vocabulary, self->rank},
                             .init_std = self->init_std,
                             .lr_scale = 1};
  return TH_OK;
}

static th_status unit_info(const th_model *self, uint32_t unit, th_unit_info *out) {
  *out = (th_unit_info){.struct_size = sizeof *out,
                        .parameter_count = 1,
                        .parameters = &parameter_of_unit[unit],
                        .name = unit == 0 ? TEXT("embedding") : TEXT("head"),
                        .output_width = unit == 0 ? (uint64_t)self->rank : 0,
                        .forward_flops_per_token = unit == 0 ? 0 : 2.0 * (double)(self->vocabulary * self->rank)};
  return TH_OK;
}

/* row = W e; gives log(sum(exp(row))). */
static double logits_of(const th_model *self, const float *w, const float *e, float *row) {
  double largest = -INFINITY, sum = 0;
  for (int64_t v = 0; v < self->vocabulary; ++v) {
    double product = 0;
    for (int64_t c = 0; c < self->rank; ++c) product += (double)w[v * self->rank + c] * e[c];
    row[v] = (float)product;
    largest = fmax(largest, row[v]);
  }
  for (int64_t v = 0; v < self->vocabulary; ++v) sum += exp(row[v] - largest);
  return largest + log(sum);
}

static th_status forward(th_model *self, uint32_t unit, const th_call *call, const th_batch *batch, const th_tensor *parameters,
                         const th_tensor *input, th_tensor *output, th_saved **saved) {
  (void)call;
  *saved = NULL;
  const int64_t tokens = (int64_t)batch->sequences * batch->sequence_length, rank = self->rank;
  const float *weight = parameters[0].data, *weights = batch->loss_weights.data;
  const int32_t *token = batch->tokens.data, *target = batch->targets.data;
  float *out = output->data, *token_losses = batch->token_losses.data;
  double sum = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    if (unit == 0) {
      memcpy(out + t * rank, weight + token[t] * rank, (size_t)rank * sizeof(float));
      continue;
    }
    const double loss = logits_of(self, weight, (const float *)input->data + t * rank, self->row) - self->row[target[t]];
    if (token_losses != NULL) token_losses[t] = (float)loss;
    sum += weights[t] * loss;
  }
  if (unit == 1) out[0] = (float)(sum * batch->loss_scale);
  return TH_OK;
}

/* The gradient of a logit is (softmax - one at the target) * weight * loss_scale; it goes to W by e and to e by W. */
static th_status backward(th_model *self, uint32_t unit, const th_call *call, const th_batch *batch, const th_tensor *parameters,
                          const th_tensor *input, th_saved *saved, const th_tensor *output_gradient, th_tensor *input_gradient,
                          th_tensor *parameter_gradients, const uint32_t *gradient_modes) {
  (void)call, (void)saved;
  const int64_t tokens = (int64_t)batch->sequences * batch->sequence_length, rank = self->rank;
  const float *weight = parameters[0].data, *weights = batch->loss_weights.data;
  const int32_t *token = batch->tokens.data, *target = batch->targets.data;
  float *gradient = parameter_gradients[0].data;
  if (gradient_modes[0] == TH_GRADIENT_OVERWRITE) memset(gradient, 0, (size_t)(self->vocabulary * rank) * sizeof(float));
  for (int64_t t = 0; t < tokens; ++t) {
    if (unit == 0) {
      const float *de = (const float *)output_gradient->data + t * rank;
      for (int64_t c = 0; c < rank; ++c) gradient[token[t] * rank + c] += de[c];
      continue;
    }
    const float *e = (const float *)input->data + t * rank;
    float *de = (float *)input_gradient->data + t * rank;
    const double log_sum = logits_of(self, weight, e, self->row), scale = weights[t] * batch->loss_scale;
    memset(de, 0, (size_t)rank * sizeof(float));
    for (int64_t v = 0; v < self->vocabulary; ++v) {
      const float g = (float)(scale * (exp(self->row[v] - log_sum) - (v == target[t])));
      for (int64_t c = 0; c < rank; ++c) {
        gradient[v * rank + c] += g * e[c];
        de[c] += g * weight[v * rank + c];
      }
    }
  }
  return TH_OK;
}

static void release(th_model *self, th_saved *saved) { (void)self, (void)saved; /* nothing is ever kept */ }

static th_status logits(th_model *self, const th_call *call, const th_batch *batch, const th_tensor *parameters, const th_tensor *input,
                        const int32_t *rows, uint32_t count, th_tensor *output) {
  (void)call, (void)batch;
  for (uint32_t i = 0; i < count; ++i) {
    logits_of(self, parameters[0].data, (const float *)input->data + rows[i] * self->rank, (float *)output->data + i * self->vocabulary);
  }
  return TH_OK;
}

/* Nothing: the row is there from the start. */
static th_status unit_memory(const th_model *self, uint32_t unit, const th_call *call, uint32_t sequences, uint32_t sequence_length,
                             th_unit_memory *out) {
  (void)self, (void)unit, (void)call, (void)sequences, (void)sequence_length;
  *out = (th_unit_memory){.struct_size = sizeof *out};
  return TH_OK;
}

static const void *get_extension(const th_model *self, th_string id) {
  static const th_model_logits logits_table = {.struct_size = sizeof logits_table, .logits = logits};
  static const th_model_memory memory_table = {.struct_size = sizeof memory_table, .unit_memory = unit_memory};
  (void)self;
  if (same(id, TH_EXT_MODEL_LOGITS)) return &logits_table;
  return same(id, TH_EXT_MODEL_MEMORY) ? &memory_table : NULL;
}

static const void *get_kind(th_string id) {
  static const th_model_api api = {
      .struct_size = sizeof api,
      .create = create,
      .destroy = destroy,
      .parameter_count = two,
      .parameter_info = parameter_info,
      .unit_count = two,
      .unit_info = unit_info,
      .forward = forward,
      .backward = backward,
      .release = release,
      .loss_and_backward = NULL, /* the host calls forward and backward */
      .get_extension = get_extension,
  };
  return same(id, TH_KIND_MODEL) ? &api : NULL;
}

const th_plugin *trainhost_plugin_entry(const th_host *host) {
  static const th_plugin plugin = {.struct_size = sizeof plugin, .get_kind = get_kind};
  (void)host;
  return &plugin;
}
