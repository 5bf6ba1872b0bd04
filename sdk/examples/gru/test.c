/* Calls the plugin as the host does, through its C table, and compares with the recurrence computed step by step: test FILE.so */
#include <math.h>

#include <trainhost/ext/model_logits.h>
#include <trainhost/ext/model_memory.h>
#include <trainhost/kinds/model.h>
#include <trainhost/testing/host.h>

enum { kVocabulary = 7, kWidth = 3, kState = 4, kSequences = 2, kLength = 11, kTokens = kSequences * kLength };
enum { kUnits = 3, kParameters = 8, kMostElements = kVocabulary * kWidth, kOfLayer = 5 };
enum { kEmbedding, kNorm, kGate, kGateBias, kCandidate, kOut, kHeadNorm, kHead }; /* parameters, in the order of the model */

static th_test_host host;
static const th_model_api *api;
static th_model *model;

static float parameters[kParameters][kMostElements], gradients[kParameters][kMostElements];
static float embedded[kTokens * kWidth], hidden[kTokens * kWidth], vector_gradients[kTokens * kWidth];
static int32_t tokens[kTokens], targets[kTokens], positions[kTokens];
static float loss_weights[kTokens], token_losses[kTokens];
static const double kLossScale = 0.125;

static int64_t vectors_shape[] = {kTokens, kWidth}, batch_shape[] = {kSequences, kLength}, one[] = {1};
static int64_t parameter_shapes[kParameters][4];

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

/* Two sequences; documents begin at 0 and 6 of the first one, and at 0 of the second. */
static th_batch batch(void) {
  const th_batch made = {.struct_size = sizeof made,
                         .sequences = kSequences,
                         .sequence_length = kLength,
                         .tokens = tensor(tokens, 2, batch_shape, TH_DTYPE_INT),
                         .targets = tensor(targets, 2, batch_shape, TH_DTYPE_INT),
                         .loss_weights = floats(loss_weights, 2, batch_shape),
                         .positions = tensor(positions, 2, batch_shape, TH_DTYPE_INT),
                         .loss_scale = kLossScale,
                         .token_losses = floats(token_losses, 2, batch_shape)};
  for (int t = 0; t < kTokens; ++t) {
    tokens[t] = (t * 5 + 2) % kVocabulary;
    targets[t] = (t * 3 + 1) % kVocabulary;
    positions[t] = t < 6 ? t : t < kLength ? t - 6 : t - kLength;
    loss_weights[t] = t % 4 == 3 ? 0 : 1.5f;
  }
  return made;
}

/* The parameters of a unit are those from first[unit] on. */
static const int first[kUnits + 1] = {kEmbedding, kNorm, kHeadNorm, kParameters};

static const th_tensor *views(int unit, float from[kParameters][kMostElements]) {
  static th_tensor made[2][kOfLayer];
  th_tensor *of = made[from == gradients];
  for (int p = first[unit]; p < first[unit + 1]; ++p) {
    th_parameter_info info = {.struct_size = sizeof info};
    TH_TEST(api->parameter_info(model, (uint32_t)p, &info) == TH_OK);
    memcpy(parameter_shapes[p], info.shape, sizeof info.shape);
    of[p - first[unit]] = floats(from[p], info.rank, parameter_shapes[p]);
  }
  return of;
}

static th_call call_of(int32_t training, int32_t keep, int32_t lifetime) {
  const th_call call = {.struct_size = sizeof call, .training = training, .parameter_lifetime = lifetime, .keep = keep, .seed = 7};
  return call;
}

/* The units' outputs; saved: one for each unit. */
static float forward(th_call call, th_saved **saved) {
  const th_batch with = batch();
  const th_tensor none = {0}, x = floats(embedded, 2, vectors_shape), y = floats(hidden, 2, vectors_shape);
  float loss = NAN;
  th_tensor outputs[kUnits] = {x, y, floats(&loss, 1, one)};
  const th_tensor *inputs[kUnits] = {&none, &x, &y};
  for (int unit = 0; unit < kUnits; ++unit) {
    saved[unit] = NULL;
    TH_TEST(api->forward(model, (uint32_t)unit, &call, &with, views(unit, parameters), inputs[unit], &outputs[unit], &saved[unit]) ==
            TH_OK);
  }
  return loss;
}

/* The vectors between the units are taken to another place before, and what was there is spoilt. */
static void backward(th_call call, th_saved **saved, uint32_t mode) {
  static float moved[2][kTokens * kWidth];
  const th_batch with = batch();
  const uint32_t modes[kOfLayer] = {mode, mode, mode, mode, mode};
  const th_tensor none = {0}, x = floats(moved[0], 2, vectors_shape), y = floats(moved[1], 2, vectors_shape);
  const th_tensor *inputs[kUnits] = {&none, &x, &y};
  memcpy(moved[0], embedded, sizeof embedded);
  memcpy(moved[1], hidden, sizeof hidden);
  memset(embedded, 0xFF, sizeof embedded);
  memset(hidden, 0xFF, sizeof hidden);
  for (int unit = kUnits - 1; unit >= 0; --unit) {
    th_tensor gradient = floats(vector_gradients, 2, vectors_shape), nothing = none;
    TH_TEST(api->backward(model, (uint32_t)unit, &call, &with, views(unit, parameters), inputs[unit], saved[unit],
                          unit == kUnits - 1 ? &none : &gradient, unit == 0 ? &nothing : &gradient, (th_tensor *)views(unit, gradients),
                          modes) == TH_OK);
  }
}

static void fill_parameters(void) {
  for (int p = 0; p < kParameters; ++p) {
    for (int i = 0; i < kMostElements; ++i) parameters[p][i] = sinf(0.7f * (float)i + (float)p) + (p == kNorm || p == kHeadNorm);
  }
}

static double rms(const double *x) {
  double squares = 0;
  for (int c = 0; c < kWidth; ++c) squares += x[c] * x[c];
  return sqrt(squares / kWidth + 1e-6);
}

/* W[row] . v */
static double dot(const float *w, int row, const double *v, int count) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += w[row * count + i] * v[i];
  return sum;
}

/* x becomes x + W_o h_t; h is h_(t-1) before and h_t after. */
static void layer_step(double *x, double *h) {
  double normed[kWidth];
  const double scale = rms(x);
  for (int c = 0; c < kWidth; ++c) normed[c] = x[c] / scale * parameters[kNorm][c];
  for (int s = 0; s < kState; ++s) {
    const double z = 1 / (1 + exp(-dot(parameters[kGate], s, normed, kWidth) - parameters[kGateBias][s]));
    h[s] = (1 - z) * h[s] + z * dot(parameters[kCandidate], s, normed, kWidth);
  }
  for (int c = 0; c < kWidth; ++c) x[c] += dot(parameters[kOut], c, h, kState);
}

static double loss_of(const double *x, int target, double *logits) {
  double normed[kWidth], sum = 0;
  const double scale = rms(x);
  for (int c = 0; c < kWidth; ++c) normed[c] = x[c] / scale * parameters[kHeadNorm][c];
  for (int v = 0; v < kVocabulary; ++v) sum += exp(logits[v] = dot(parameters[kHead], v, normed, kWidth));
  return log(sum) - logits[target];
}

/* The equations token by token, in double. */
static void agrees_with_the_recurrence(void) {
  th_saved *saved[kUnits];
  int32_t rows[kTokens];
  float logits[kTokens][kVocabulary] = {{0}};
  int64_t logits_shape[] = {kTokens, kVocabulary};
  th_tensor logits_view = floats(logits, 2, logits_shape);
  double h[kState], expected_loss = 0;
  const th_model_logits *extension = (const th_model_logits *)api->get_extension(model, th_test_string(TH_EXT_MODEL_LOGITS));
  const th_call call = call_of(0, 0, TH_KEEP_DURING_CALL);
  fill_parameters();
  const float loss = forward(call, saved);
  const th_batch with = batch();
  const th_tensor y = floats(hidden, 2, vectors_shape);
  for (int t = 0; t < kTokens; ++t) rows[t] = kTokens - 1 - t;
  TH_TEST(extension != NULL);
  TH_TEST(extension->logits(model, &call, &with, views(2, parameters), &y, rows, kTokens, &logits_view) == TH_OK);
  for (int t = 0; t < kTokens; ++t) {
    double x[kWidth], expected[kVocabulary];
    for (int c = 0; c < kWidth; ++c) x[c] = parameters[kEmbedding][tokens[t] * kWidth + c];
    if (positions[t] == 0) memset(h, 0, sizeof h);
    layer_step(x, h);
    for (int c = 0; c < kWidth; ++c) TH_TEST(th_test_near(hidden[t * kWidth + c], x[c], 2e-6));
    const double token_loss = loss_of(x, targets[t], expected);
    TH_TEST(th_test_near(token_losses[t], token_loss, 5e-6));
    for (int v = 0; v < kVocabulary; ++v) TH_TEST(th_test_near(logits[rows[t]][v], expected[v], 5e-6));
    expected_loss += loss_weights[t] * kLossScale * token_loss;
  }
  TH_TEST(th_test_near(loss, expected_loss, 5e-6));
  for (int unit = 0; unit < kUnits; ++unit) TH_TEST(saved[unit] == NULL);
}

/* (loss(p + h) - loss(p - h)) / 2h for each weight on its own; its error is of the order of h^2. */
static void gradients_are_those_of_the_loss(void) {
  const th_call call = call_of(1, 1, TH_KEEP_UNTIL_BACKWARD);
  const float h = 0x1p-7f;
  th_saved *saved[kUnits], *none[kUnits];
  fill_parameters();
  forward(call, saved);
  for (int unit = 0; unit < kUnits; ++unit) TH_TEST(saved[unit] != NULL);
  backward(call, saved, TH_GRADIENT_OVERWRITE);
  for (int p = 0; p < kParameters; ++p) {
    const int64_t count = parameter_shapes[p][0] * (parameter_shapes[p][1] > 0 ? parameter_shapes[p][1] : 1);
    for (int64_t i = 0; i < count; ++i) {
      const float before = parameters[p][i];
      parameters[p][i] = before + h;
      const double above = forward(call_of(0, 0, TH_KEEP_DURING_CALL), none);
      parameters[p][i] = before - h;
      const double below = forward(call_of(0, 0, TH_KEEP_DURING_CALL), none);
      parameters[p][i] = before;
      TH_TEST(th_test_near(gradients[p][i], (above - below) / (2 * (double)h), 1e-3));
    }
  }
}

/* With a graph kept, built anew because it was not to be kept, or because the parameters go away: the same bits. */
static void keeps_no_graph_where_it_may_not(void) {
  static float kept[kParameters][kMostElements];
  th_saved *saved[kUnits];
  fill_parameters();
  forward(call_of(1, 1, TH_KEEP_UNTIL_BACKWARD), saved);
  backward(call_of(1, 1, TH_KEEP_UNTIL_BACKWARD), saved, TH_GRADIENT_OVERWRITE);
  memcpy(kept, gradients, sizeof kept);
  for (int32_t keep = 0; keep < 2; ++keep) {
    const th_call call = call_of(1, keep, keep == 1 ? TH_KEEP_DURING_CALL : TH_KEEP_UNTIL_BACKWARD);
    forward(call, saved);
    for (int unit = 0; unit < kUnits; ++unit) TH_TEST(saved[unit] == NULL);
    memset(gradients, 0, sizeof gradients);
    backward(call, saved, TH_GRADIENT_ADD);
    TH_TEST(memcmp(kept, gradients, sizeof kept) == 0);
  }
  forward(call_of(1, 1, TH_KEEP_UNTIL_BACKWARD), saved);
  for (int unit = 0; unit < kUnits; ++unit) api->release(model, saved[unit]);
}

static void tells_its_memory(void) {
  const th_model_memory *extension = (const th_model_memory *)api->get_extension(model, th_test_string(TH_EXT_MODEL_MEMORY));
  const th_call keeps = call_of(1, 1, TH_KEEP_UNTIL_BACKWARD), does_not = call_of(1, 1, TH_KEEP_DURING_CALL);
  th_unit_memory kept = {.struct_size = sizeof kept}, anew = kept;
  TH_TEST(extension != NULL);
  TH_TEST(extension->unit_memory(model, 1, &keeps, kSequences, kLength, &kept) == TH_OK);
  TH_TEST(extension->unit_memory(model, 1, &does_not, kSequences, kLength, &anew) == TH_OK);
  TH_TEST(anew.saved == 0 && kept.saved > 4 * kTokens * kState * sizeof(float)); /* the states and what made them */
  TH_TEST(anew.backward == kept.backward + kept.saved);
}

static void refuses_what_it_cannot_do(th_model_options options) {
  th_model *other = NULL;
  options.device_type = TH_DEVICE_CUDA;
  TH_TEST(api->create(&host.table, th_test_config(&host), &options, &other) == TH_UNSUPPORTED && other == NULL);
  TH_TEST(strstr(host.failure, "CPUs only") != NULL);
  options.device_type = TH_DEVICE_CPU;
  th_test_set_number(&host, "dropout", 0.1);
  TH_TEST(api->create(&host.table, th_test_config(&host), &options, &other) == TH_UNSUPPORTED && other == NULL);
  TH_TEST(strstr(host.failure, "no th.rng/1; set dropout = 0") != NULL);
}

int main(int count, char **arguments) {
  const th_model_options options = {.struct_size = sizeof options,
                                    .vocabulary_size = kVocabulary,
                                    .device_type = TH_DEVICE_CPU,
                                    .compute_code = TH_DTYPE_FLOAT,
                                    .compute_bits = 32,
                                    .sequence_length = kLength,
                                    .tokens = kTokens};
  TH_TEST(count == 2);
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_MODEL);
  th_test_set_integer(&host, "layers", 1);
  th_test_set_integer(&host, "width", kWidth);
  th_test_set_integer(&host, "state", kState);
  th_test_set_number(&host, "dropout", 0);
  TH_TEST(api->create(&host.table, th_test_config(&host), &options, &model) == TH_OK);
  TH_TEST(api->parameter_count(model) == kParameters && api->unit_count(model) == kUnits);
  agrees_with_the_recurrence();
  gradients_are_those_of_the_loss();
  keeps_no_graph_where_it_may_not();
  tells_its_memory();
  api->destroy(model);
  refuses_what_it_cannot_do(options);
  TH_TEST(host.blocks == 0);
  return 0;
}
