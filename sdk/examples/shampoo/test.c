/* Calls the plugin as the host does, through its C table, and compares with a trace computed in float64: test FILE.so */
#include <math.h>

#include <trainhost/kinds/optimizer.h>
#include <trainhost/testing/host.h>

#include "trace.h"

enum { kParameters = 3, kMostElements = 15, kMostStates = 4, kMostStateElements = 49 };

static th_test_host host;
static const th_optimizer_api *api;

static th_parameter_info infos[kParameters] = {
    {.struct_size = sizeof infos[0], .role = TH_ROLE_MATRIX, .rank = 2, .weight_decay = 1, .shape = {3, 5}, .lr_scale = 1},
    {.struct_size = sizeof infos[0], .role = TH_ROLE_HEAD, .rank = 2, .weight_decay = 1, .shape = {7, 2}, .lr_scale = 1},
    {.struct_size = sizeof infos[0], .role = TH_ROLE_NORM, .rank = 1, .weight_decay = 1, .shape = {4}, .lr_scale = 1}};

static float masters[kParameters][kMostElements], gradients[kParameters][kMostElements];
static float states[kParameters][kMostStates][kMostStateElements];
static uint16_t copies[kParameters][kMostElements];
static double workspace[2 * kMostStateElements];
static th_tensor state_views[kParameters][kMostStates];
static int64_t state_shapes[kParameters][kMostStates][2];

static int64_t elements(const th_parameter_info *info) { return info->rank == 2 ? info->shape[0] * info->shape[1] : info->shape[0]; }

static th_tensor tensor(void *data, int32_t rank, int64_t *shape, int code, int bits) {
  const th_tensor made = {.data = data,
                          .device_type = TH_DEVICE_CPU,
                          .rank = rank,
                          .dtype_code = (uint8_t)code,
                          .dtype_bits = (uint8_t)bits,
                          .dtype_lanes = 1,
                          .shape = shape};
  return made;
}

/* As in trace.py. */
static float value(int number, int step, int element) {
  return (float)(((element * 37 + number * 11 + step * 101) % 64 + 64) % 64 - 31.5f) / 16;
}

static th_optimizer *create(int64_t every, int64_t largest_side) {
  th_optimizer *optimizer = NULL;
  th_test_set_number(&host, "epsilon", 1e-3);
  th_test_set_integer(&host, "every", every);
  th_test_set_integer(&host, "largest_side", largest_side);
  th_test_set_number(&host, "weight_decay", 0.1);
  TH_TEST(api->create(&host.table, th_test_config(&host), &optimizer) == TH_OK);
  return optimizer;
}

/* Parameters and states as the host begins them. */
static void begin(const th_optimizer *optimizer) {
  for (int p = 0; p < kParameters; ++p) {
    th_state_info described[kMostStates];
    uint32_t count = 0;
    TH_TEST(api->describe_states(optimizer, &infos[p], described, kMostStates, &count) == TH_OK && count <= kMostStates);
    for (uint32_t s = 0; s < count; ++s) {
      TH_TEST(described[s].rank == -1 || described[s].rank == 2);
      memcpy(state_shapes[p][s], described[s].rank == 2 ? described[s].shape : infos[p].shape, sizeof state_shapes[p][s]);
      for (int i = 0; i < kMostStateElements; ++i) states[p][s][i] = (float)described[s].initial;
      state_views[p][s] = tensor(states[p][s], described[s].rank == 2 ? 2 : infos[p].rank, state_shapes[p][s], TH_DTYPE_FLOAT, 32);
    }
    for (int i = 0; i < elements(&infos[p]); ++i) masters[p][i] = value(p, -1, i);
  }
}

static th_status update(th_optimizer *optimizer, int step, int device_type) {
  const float gradient_scale = 0.5f;
  th_update updates[kParameters];
  const th_update_call call = {.struct_size = sizeof call,
                               .step = (uint64_t)step,
                               .gradient_scale = &gradient_scale,
                               .momentum = NAN,
                               .stream = NULL,
                               .workspace = workspace};
  for (int p = 0; p < kParameters; ++p) {
    const th_update one = {.info = &infos[p],
                           .master = tensor(masters[p], infos[p].rank, infos[p].shape, TH_DTYPE_FLOAT, 32),
                           .gradient = tensor(gradients[p], infos[p].rank, infos[p].shape, TH_DTYPE_FLOAT, 32),
                           .compute_copy = tensor(copies[p], infos[p].rank, infos[p].shape, TH_DTYPE_BFLOAT, 16),
                           .states = state_views[p],
                           .learning_rate = 0.1,
                           .weight_decay_multiplier = 1};
    for (int i = 0; i < elements(&infos[p]); ++i) gradients[p][i] = value(p, step, i);
    updates[p] = one;
    updates[p].master.device_type = device_type;
  }
  return api->update(optimizer, &call, updates, kParameters);
}

static void matches(const float *found, const double *expected, int64_t count) {
  for (int64_t i = 0; i < count; ++i) TH_TEST(th_test_near(found[i], expected[i], 2e-6));
}

static void follows_the_trace(int64_t every, const double (*wide)[15], const double (*tall)[14], const double (*vector)[4]) {
  th_optimizer *optimizer = create(every, 7);
  begin(optimizer);
  for (int step = 0; step < kSteps; ++step) {
    const uint64_t allocations = host.allocations;
    TH_TEST(update(optimizer, step, TH_DEVICE_CPU) == TH_OK);
    TH_TEST(host.allocations == allocations);
    matches(masters[0], wide[step], 15);
    matches(masters[1], tall[step], 14);
    matches(masters[2], vector[step], 4);
  }
  api->destroy(optimizer);
}

/* A side of 7 is longer than 6: the tall matrix is updated as a vector of its elements is. */
static void leaves_long_sides_to_adagrad(void) {
  double w = value(1, -1, 0), sum = 1e-3;
  th_optimizer *optimizer = create(1, 6);
  begin(optimizer);
  TH_TEST(state_shapes[1][0][0] == 7 && state_shapes[1][0][1] == 2); /* its own shape */
  for (int step = 0; step < kSteps; ++step) {
    const double g = 0.5 * value(1, step, 0);
    TH_TEST(update(optimizer, step, TH_DEVICE_CPU) == TH_OK);
    sum += g * g;
    w -= 0.1 * (g / sqrt(sum) + 0.1 * w);
    TH_TEST(th_test_near(masters[1][0], w, 2e-6));
  }
  api->destroy(optimizer);
}

static void keeps_two_sums_and_their_roots(void) {
  static const int64_t expected[kMostStates] = {3, 5, 3, 5};
  static const char *const names[kMostStates] = {"left", "right", "left_root", "right_root"};
  th_state_info described[kMostStates];
  uint32_t count = 0;
  th_optimizer *optimizer = create(1, 7);
  TH_TEST(api->granularity(optimizer) == TH_GRANULARITY_MATRIX);
  TH_TEST(api->describe_states(optimizer, &infos[0], described, kMostStates, &count) == TH_OK && count == kMostStates);
  for (int s = 0; s < kMostStates; ++s) {
    TH_TEST(th_test_same(described[s].name, names[s]) && described[s].rank == 2 && described[s].initial == 0);
    TH_TEST(described[s].shape[0] == expected[s] && described[s].shape[1] == expected[s]);
  }
  TH_TEST(api->describe_states(optimizer, &infos[2], described, kMostStates, &count) == TH_OK && count == 1);
  TH_TEST(th_test_same(described[0].name, "sum_of_squares") && described[0].rank == -1);
  api->destroy(optimizer);
}

/* For the sides 3 x 5 and 7 x 2 the most is the square of 7; a vector needs none. */
static void asks_for_a_workspace(void) {
  const th_parameter_info *const all[kParameters] = {&infos[0], &infos[1], &infos[2]};
  uint64_t bytes = 1;
  th_optimizer *optimizer = create(1, 7);
  TH_TEST(api->workspace(optimizer, all, kParameters, &bytes) == TH_OK && bytes == 49 * sizeof(double));
  TH_TEST(api->workspace(optimizer, all, 1, &bytes) == TH_OK && bytes == 30 * sizeof(double));
  TH_TEST(api->workspace(optimizer, all + 2, 1, &bytes) == TH_OK && bytes == 0);
  TH_TEST(bytes <= sizeof workspace);
  api->destroy(optimizer);
}

/* A bfloat16 is the upper half of a float32: rounded to nearest, it is off by half of its last bit at most. */
static void writes_the_rounded_copy(void) {
  th_optimizer *optimizer = create(1, 7);
  begin(optimizer);
  TH_TEST(update(optimizer, 0, TH_DEVICE_CPU) == TH_OK);
  for (int p = 0; p < kParameters; ++p) {
    for (int i = 0; i < elements(&infos[p]); ++i) {
      const uint32_t widened = (uint32_t)copies[p][i] << 16;
      float copy;
      memcpy(&copy, &widened, sizeof copy);
      TH_TEST(fabsf(copy - masters[p][i]) <= fabsf(masters[p][i]) * 0x1p-8f);
    }
  }
  api->destroy(optimizer);
}

static void refuses_other_devices(void) {
  th_optimizer *optimizer = create(1, 7);
  begin(optimizer);
  TH_TEST(update(optimizer, 0, TH_DEVICE_CUDA) == TH_UNSUPPORTED && masters[0][0] == value(0, -1, 0));
  TH_TEST(strstr(host.failure, "CPUs only") != NULL);
  api->destroy(optimizer);
}

int main(int count, char **arguments) {
  TH_TEST(count == 2);
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_OPTIMIZER);
  follows_the_trace(1, wide_every_1, tall_every_1, vector_every_1);
  follows_the_trace(4, wide_every_4, tall_every_4, vector_every_4);
  leaves_long_sides_to_adagrad();
  keeps_two_sums_and_their_roots();
  asks_for_a_workspace();
  writes_the_rounded_copy();
  refuses_other_devices();
  TH_TEST(host.blocks == 0);
  return 0;
}
