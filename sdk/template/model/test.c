/* Calls the plugin as the host does, through its C table, and compares with the closed form and finite differences: test FILE.so */
#include <math.h>

#include <trainhost/ext/model_logits.h>
#include <trainhost/kinds/model.h>
#include <trainhost/testing/host.h>

enum { kVocabulary = 5, kRank = 3, kTokens = 4, kParameters = 3, kWeights = kVocabulary * kRank };

static th_test_host host;
static const th_model_api *api;
static th_model *model;

static const int32_t tokens[kTokens] = {0, 3, 3, 4}, targets[kTokens] = {3, 3, 4, 1};
static const float loss_weights[kTokens] = {1, 0, 2, 0.5f};
static float token_losses[kTokens];
static const double kLossScale = 0.25;

/* E, W and b, their gradients, and the vectors between the two units. */
static float parameters[kParameters][kWeights], gradients[kParameters][kWeights], vectors[kTokens * kRank],
    vector_gradients[kTokens * kRank];
static int64_t matrix_shape[] = {kVocabulary, kRank}, vectors_shape[] = {kTokens, kRank}, one[] = {1}, batch_shape[] = {1, kTokens};

static th_tensor tensor(const void *data, int32_t rank, int64_t *shape, int code) {
  const th_tensor made = {.data = (void *)(uintptr_t)data,
                          .device_type = TH_DEVICE_CPU,
                          .rank = rank,
                          .dtype_code = (uint8_t)code,
                          .dtype_bits = 32,
                          .dtype_lanes = 1,
                          .shape = shape};
  return made;
}

static th_tensor floats(const void *data, int32_t rank, int64_t *shape) { return tensor(data, rank, shape, TH_DTYPE_FLOAT); }

/* The tokens [first, first + count) as one sequence. */
static th_batch batch_of(int first, int64_t count) {
  const th_batch batch = {.struct_size = sizeof batch,
                          .sequences = 1,
                          .sequence_length = (uint32_t)count,
                          .tokens = tensor(tokens + first, 2, batch_shape, TH_DTYPE_INT),
                          .targets = tensor(targets + first, 2, batch_shape, TH_DTYPE_INT),
                          .loss_weights = floats(loss_weights + first, 2, batch_shape),
                          .loss_scale = kLossScale,
                          .token_losses = floats(token_losses + first, 2, batch_shape)};
  return batch;
}

static const th_call kCall = {.struct_size = sizeof kCall, .training = 1, .keep = 1};
static const th_tensor kNone = {0};

static float loss_of(const th_batch *batch) {
  float loss = NAN;
  th_saved *saved = NULL;
  const th_tensor e = floats(parameters[0], 2, matrix_shape);
  const th_tensor head[] = {floats(parameters[1], 2, matrix_shape), floats(parameters[2], 1, matrix_shape)};
  th_tensor between = floats(vectors, 2, vectors_shape), output = floats(&loss, 1, one);
  TH_TEST(api->forward(model, 0, &kCall, batch, &e, &kNone, &between, &saved) == TH_OK);
  TH_TEST(api->forward(model, 1, &kCall, batch, head, &between, &output, &saved) == TH_OK);
  return loss;
}

/* After loss_of. */
static void backward(const th_batch *batch, uint32_t mode) {
  const uint32_t modes[] = {mode, mode};
  th_tensor e = floats(parameters[0], 2, matrix_shape), e_gradient = floats(gradients[0], 2, matrix_shape);
  const th_tensor head[] = {floats(parameters[1], 2, matrix_shape), floats(parameters[2], 1, matrix_shape)};
  th_tensor head_gradients[] = {floats(gradients[1], 2, matrix_shape), floats(gradients[2], 1, matrix_shape)};
  th_tensor between = floats(vectors, 2, vectors_shape), between_gradient = floats(vector_gradients, 2, vectors_shape), none = kNone;
  TH_TEST(api->backward(model, 1, &kCall, batch, head, &between, NULL, &kNone, &between_gradient, head_gradients, modes) == TH_OK);
  TH_TEST(api->backward(model, 0, &kCall, batch, &e, &kNone, NULL, &between_gradient, &none, &e_gradient, modes) == TH_OK);
}

static void fill_parameters(void) {
  for (int p = 0; p < kParameters; ++p) {
    for (int i = 0; i < kWeights; ++i) parameters[p][i] = sinf((float)(i + 10 * p + 1));
  }
}

/* Without any weights every token is as likely as any other. */
static void begins_with_the_entropy_of_a_fair_die(void) {
  const th_batch batch = batch_of(0, kTokens);
  memset(parameters, 0, sizeof parameters);
  TH_TEST(th_test_near(loss_of(&batch), (1 + 2 + 0.5) * kLossScale * log(kVocabulary), 1e-6));
  for (int t = 0; t < kTokens; ++t) TH_TEST(th_test_near(token_losses[t], log(kVocabulary), 1e-6));
}

/* (loss(p + h) - loss(p - h)) / 2h for each weight on its own; its error is of the order of h^2. */
static void gradients_are_those_of_the_loss(void) {
  const th_batch batch = batch_of(0, kTokens);
  const float h = 0x1p-6f;
  fill_parameters();
  loss_of(&batch);
  backward(&batch, TH_GRADIENT_OVERWRITE);
  for (int p = 0; p < kParameters; ++p) {
    for (int i = 0; i < (p == 2 ? kVocabulary : kWeights); ++i) {
      const float before = parameters[p][i];
      parameters[p][i] = before + h;
      const double above = loss_of(&batch);
      parameters[p][i] = before - h;
      const double below = loss_of(&batch);
      parameters[p][i] = before;
      TH_TEST(th_test_near(gradients[p][i], (above - below) / (2 * (double)h), 3e-4));
    }
  }
}

/* Two micro-batches give what one gives, and a gradient can be added to. */
static void micro_batches_add_up(void) {
  static float whole[kParameters][kWeights];
  const th_batch all = batch_of(0, kTokens), first = batch_of(0, 1), rest = batch_of(1, kTokens - 1);
  fill_parameters();
  const float loss = loss_of(&all);
  backward(&all, TH_GRADIENT_OVERWRITE);
  memcpy(whole, gradients, sizeof whole);
  float sum = loss_of(&first);
  backward(&first, TH_GRADIENT_OVERWRITE);
  sum += loss_of(&rest);
  backward(&rest, TH_GRADIENT_ADD);
  TH_TEST(th_test_near(sum, loss, 1e-6));
  for (int p = 0; p < kParameters; ++p) {
    for (int i = 0; i < (p == 2 ? kVocabulary : kWeights); ++i) TH_TEST(th_test_near(gradients[p][i], whole[p][i], 1e-6));
  }
}

/* A token's loss is log(sum(exp(logits))) - its target's logit. */
static void logits_explain_the_loss(void) {
  const th_model_logits *extension = api->get_extension(model, th_test_string(TH_EXT_MODEL_LOGITS));
  const th_batch batch = batch_of(0, kTokens);
  const int32_t rows[] = {3, 1};
  float logits[2][kVocabulary];
  int64_t shape[] = {2, kVocabulary};
  th_tensor output = floats(logits, 2, shape);
  fill_parameters();
  loss_of(&batch);
  const th_tensor head[] = {floats(parameters[1], 2, matrix_shape), floats(parameters[2], 1, matrix_shape)};
  const th_tensor between = floats(vectors, 2, vectors_shape);
  TH_TEST(extension != NULL && extension->logits(model, &kCall, &batch, head, &between, rows, 2, &output) == TH_OK);
  for (int i = 0; i < 2; ++i) {
    double sum = 0;
    for (int v = 0; v < kVocabulary; ++v) sum += exp(logits[i][v]);
    TH_TEST(th_test_near(log(sum) - logits[i][targets[rows[i]]], token_losses[rows[i]], 1e-5));
  }
}

static void refuses_bfloat16(th_model_options options) {
  th_model *other = NULL;
  options.compute_code = TH_DTYPE_BFLOAT;
  options.compute_bits = 16;
  TH_TEST(api->create(&host.table, th_test_config(&host), &options, &other) == TH_UNSUPPORTED && other == NULL);
  TH_TEST(strstr(host.failure, "float32 only") != NULL);
}

int main(int count, char **arguments) {
  const th_model_options options = {.struct_size = sizeof options,
                                    .vocabulary_size = kVocabulary,
                                    .device_type = TH_DEVICE_CPU,
                                    .compute_code = TH_DTYPE_FLOAT,
                                    .compute_bits = 32,
                                    .sequence_length = kTokens,
                                    .tokens = kTokens};
  TH_TEST(count == 2);
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_MODEL);
  th_test_set_integer(&host, "rank", kRank);
  th_test_set_number(&host, "init_std", 0.1);
  TH_TEST(api->create(&host.table, th_test_config(&host), &options, &model) == TH_OK);
  TH_TEST(api->parameter_count(model) == kParameters && api->unit_count(model) == 2);
  begins_with_the_entropy_of_a_fair_die();
  gradients_are_those_of_the_loss();
  micro_batches_add_up();
  logits_explain_the_loss();
  refuses_bfloat16(options);
  api->destroy(model);
  TH_TEST(host.blocks == 0);
  return 0;
}
