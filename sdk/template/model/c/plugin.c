/* A bigram model: with E, W [V, C] and b [V], the logits of what follows token i are W e + b, e = E[i]. V vocabulary, C rank.
 *
 * Two units: the first turns tokens into vectors, the last turns vectors into the loss. The parameters, their gradients and the vectors
 * between the units are the host's. One thread, float32, on CPUs; nothing is kept from forward for backward. */
#include <trainhost/ext/model_logits.h>
#include <trainhost/kinds/model.h>
#include <trainhost/plugin.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(literal) ((th_string){literal, sizeof(literal) - 1})

enum { kEmbedding, kHead, kUnits };
enum { kE, kW, kB, kParameters };

struct th_model {
  const th_host *host;
  int64_t vocabulary, rank;
  double init_std;
  float *row; /* [V]: the logits of one token */
};

static int same(th_string text, const char *other) { return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0; }

/* float32, of a tensor that is contiguous, as all are here. */
static float *items(const th_tensor *tensor) { return (float *)((char *)tensor->data + tensor->byte_offset); }
static const int32_t *ids(const th_tensor *tensor) { return (const int32_t *)((char *)tensor->data + tensor->byte_offset); }

static size_t row_bytes(const th_model *self) { return (size_t)self->vocabulary * sizeof(float); }

static th_status create(const th_host *host, const th_config *config, const th_model_options *options, th_model **out) {
  if (options->device_type != TH_DEVICE_CPU || options->compute_code != TH_DTYPE_FLOAT || options->compute_bits != 32) {
    return host->fail(host, TH_UNSUPPORTED, TEXT("it runs on CPUs in float32 only: set device = \"cpu\" and precision = \"fp32\""));
  }
  th_model made = {.host = host, .vocabulary = options->vocabulary_size};
  th_status status = host->get_integer(config, TEXT("rank"), &made.rank);
  if (status == TH_OK) status = host->get_number(config, TEXT("init_std"), &made.init_std);
  if (status != TH_OK) return status;
  th_model *self = malloc(sizeof *self);
  made.row = host->allocate(host, row_bytes(&made), sizeof(float), NULL);
  if (self == NULL || made.row == NULL) {
    free(self);
    host->deallocate(host, made.row, row_bytes(&made), NULL);
    return host->fail(host, TH_OUT_OF_MEMORY, TEXT("no memory for one row of logits"));
  }
  *self = made;
  *out = self;
  return TH_OK;
}

static void destroy(th_model *self) {
  self->host->deallocate(self->host, self->row, row_bytes(self), NULL);
  free(self);
}

static uint32_t parameter_count(const th_model *self) {
  (void)self;
  return kParameters;
}

static th_status parameter_info(const th_model *self, uint32_t index, th_parameter_info *out) {
  static const struct {
    const char *name;
    int32_t role, rank, decays;
  } parameters[kParameters] = {
      {"embedding.weight", TH_ROLE_EMBEDDING, 2, 1}, {"head.weight", TH_ROLE_HEAD, 2, 1}, {"head.bias", TH_ROLE_BIAS, 1, 0}};
  *out = (th_parameter_info){.struct_size = sizeof *out,
                             .role = parameters[index].role,
                             .rank = parameters[index].rank,
                             .weight_decay = parameters[index].decays,
                             .name = {parameters[index].name, strlen(parameters[index].name)},
                             .shape = {self->vocabulary, index == kB ? 0 : self->rank},
                             .init_std = index == kB ? 0 : self->init_std,
                             .lr_scale = 1};
  return TH_OK;
}

static uint32_t unit_count(const th_model *self) {
  (void)self;
  return kUnits;
}

static th_status unit_info(const th_model *self, uint32_t unit, th_unit_info *out) {
  static const uint32_t embedding[] = {kE}, head[] = {kW, kB};
  *out = (th_unit_info){.struct_size = sizeof *out,
                        .parameter_count = unit == kEmbedding ? 1 : 2,
                        .parameters = unit == kEmbedding ? embedding : head,
                        .name = unit == kEmbedding ? TEXT("embedding") : TEXT("head"),
                        .output_width = unit == kEmbedding ? (uint64_t)self->rank : 0,
                        .forward_flops_per_token = unit == kEmbedding ? 0 : 2.0 * (double)(self->vocabulary * self->rank)};
  return TH_OK;
}

static int64_t tokens_of(const th_batch *batch) { return (int64_t)batch->sequences * batch->sequence_length; }

/* row = W e + b; gives log(sum(exp(row))). parameters: W, b. */
static double logits_of(const th_model *self, const th_tensor *parameters, const float *e, float *row) {
  const float *w = items(&parameters[0]), *b = items(&parameters[1]);
  double largest = -INFINITY, sum = 0;
  for (int64_t v = 0; v < self->vocabulary; ++v) {
    double logit = b[v];
    for (int64_t c = 0; c < self->rank; ++c) logit += (double)w[v * self->rank + c] * e[c];
    row[v] = (float)logit;
    largest = fmax(largest, row[v]);
  }
  for (int64_t v = 0; v < self->vocabulary; ++v) sum += exp(row[v] - largest);
  return largest + log(sum);
}

static void embed(const th_model *self, const th_batch *batch, const th_tensor *parameters, th_tensor *output) {
  const float *e = items(&parameters[0]);
  const int32_t *token = ids(&batch->tokens);
  for (int64_t t = 0; t < tokens_of(batch); ++t) {
    memcpy(items(output) + t * self->rank, e + token[t] * self->rank, (size_t)self->rank * sizeof(float));
  }
}

static void head_loss(const th_model *self, const th_batch *batch, const th_tensor *parameters, const th_tensor *input, th_tensor *output) {
  const float *weights = items(&batch->loss_weights);
  const int32_t *target = ids(&batch->targets);
  double sum = 0;
  for (int64_t t = 0; t < tokens_of(batch); ++t) {
    const double log_sum = logits_of(self, parameters, items(input) + t * self->rank, self->row);
    const double loss = log_sum - self->row[target[t]];
    if (batch->token_losses.data != NULL) items(&batch->token_losses)[t] = (float)loss;
    sum += weights[t] * loss;
  }
  *items(output) = (float)(sum * batch->loss_scale);
}

static th_status forward(th_model *self, uint32_t unit, const th_call *call, const th_batch *batch, const th_tensor *parameters,
                         const th_tensor *input, th_tensor *output, th_saved **saved) {
  (void)call;
  *saved = NULL;
  if (unit == kEmbedding) embed(self, batch, parameters, output);
  if (unit == kHead) head_loss(self, batch, parameters, input, output);
  return TH_OK;
}

/* dE[i] += de of every token i. */
static void embed_backward(const th_model *self, const th_batch *batch, const th_tensor *output_gradient, float *gradient) {
  const int32_t *token = ids(&batch->tokens);
  for (int64_t t = 0; t < tokens_of(batch); ++t) {
    const float *de = items(output_gradient) + t * self->rank;
    for (int64_t c = 0; c < self->rank; ++c) gradient[token[t] * self->rank + c] += de[c];
  }
}

/* With g = (softmax - one at the target) x weight x loss_scale: db += g, dW += g e', de = W' g. */
static void head_backward(const th_model *self, const th_batch *batch, const th_tensor *parameters, const th_tensor *input,
                          th_tensor *input_gradient, float *dw, float *db) {
  const float *w = items(&parameters[0]), *weights = items(&batch->loss_weights);
  const int32_t *target = ids(&batch->targets);
  const int64_t rank = self->rank;
  for (int64_t t = 0; t < tokens_of(batch); ++t) {
    const float *e = items(input) + t * rank;
    float *de = items(input_gradient) + t * rank;
    const double log_sum = logits_of(self, parameters, e, self->row), scale = weights[t] * batch->loss_scale;
    memset(de, 0, (size_t)rank * sizeof(float));
    for (int64_t v = 0; v < self->vocabulary; ++v) {
      const float g = (float)(scale * (exp(self->row[v] - log_sum) - (v == target[t])));
      db[v] += g;
      for (int64_t c = 0; c < rank; ++c) {
        dw[v * rank + c] += g * e[c];
        de[c] += g * w[v * rank + c];
      }
    }
  }
}

/* The gradient to add to: a tied or repeated parameter's goes on from what is there. */
static float *gradient_of(const th_tensor *gradient, uint32_t mode, int64_t count) {
  if (mode == TH_GRADIENT_OVERWRITE) memset(items(gradient), 0, (size_t)count * sizeof(float));
  return items(gradient);
}

static th_status backward(th_model *self, uint32_t unit, const th_call *call, const th_batch *batch, const th_tensor *parameters,
                          const th_tensor *input, th_saved *saved, const th_tensor *output_gradient, th_tensor *input_gradient,
                          th_tensor *parameter_gradients, const uint32_t *gradient_modes) {
  (void)call, (void)saved;
  float *first = gradient_of(&parameter_gradients[0], gradient_modes[0], self->vocabulary * self->rank);
  if (unit == kEmbedding) {
    embed_backward(self, batch, output_gradient, first);
  } else {
    float *db = gradient_of(&parameter_gradients[1], gradient_modes[1], self->vocabulary);
    head_backward(self, batch, parameters, input, input_gradient, first, db);
  }
  return TH_OK;
}

static void release(th_model *self, th_saved *saved) { (void)self, (void)saved; /* nothing is ever kept */ }

/* For text generation. */
static th_status logits(th_model *self, const th_call *call, const th_batch *batch, const th_tensor *parameters, const th_tensor *input,
                        const int32_t *rows, uint32_t count, th_tensor *output) {
  (void)call, (void)batch;
  for (uint32_t i = 0; i < count; ++i) {
    logits_of(self, parameters, items(input) + rows[i] * self->rank, items(output) + i * self->vocabulary);
  }
  return TH_OK;
}

static const void *get_extension(const th_model *self, th_string id) {
  static const th_model_logits table = {.struct_size = sizeof table, .logits = logits};
  (void)self;
  return same(id, TH_EXT_MODEL_LOGITS) ? &table : NULL;
}

static const void *get_kind(th_string id) {
  static const th_model_api api = {.struct_size = sizeof api,
                                   .create = create,
                                   .destroy = destroy,
                                   .parameter_count = parameter_count,
                                   .parameter_info = parameter_info,
                                   .unit_count = unit_count,
                                   .unit_info = unit_info,
                                   .forward = forward,
                                   .backward = backward,
                                   .release = release,
                                   .loss_and_backward = NULL, /* the host calls forward and backward */
                                   .get_extension = get_extension};
  return same(id, TH_KIND_MODEL) ? &api : NULL;
}

const th_plugin *trainhost_plugin_entry(const th_host *host) {
  static const th_plugin plugin = {.struct_size = sizeof plugin, .get_kind = get_kind};
  (void)host;
  return &plugin;
}
