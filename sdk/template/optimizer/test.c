/* Calls the plugin as the host does, through its C table, and compares with the closed form: test FILE.so */
#include <math.h>

#include <trainhost/kinds/optimizer.h>
#include <trainhost/testing/host.h>

enum { kCount = 50000 }; /* more than one thread's worth */

static th_test_host host;
static const th_optimizer_api *api;
static float master[kCount], gradient[kCount], velocity[kCount];
static uint16_t copy[kCount];

static th_tensor tensor(void *data, int64_t *count, int code, int bits) {
  const th_tensor made = {.data = data,
                          .device_type = TH_DEVICE_CPU,
                          .rank = 1,
                          .dtype_code = (uint8_t)code,
                          .dtype_bits = (uint8_t)bits,
                          .dtype_lanes = 1,
                          .shape = count};
  return made;
}

typedef struct settings {
  double learning_rate, momentum, weight_decay_multiplier;
  float gradient_scale;
  int device_type;
} settings;

/* One update of the elements [first, first + count). */
static th_status update(th_optimizer *optimizer, settings with, int64_t first, int64_t count) {
  const th_parameter_info info = {.struct_size = sizeof info, .rank = 1, .shape = {kCount}, .lr_scale = 1};
  th_tensor state = tensor(velocity + first, &count, TH_DTYPE_FLOAT, 32);
  th_update one = {.info = &info,
                   .master = tensor(master + first, &count, TH_DTYPE_FLOAT, 32),
                   .gradient = tensor(gradient + first, &count, TH_DTYPE_FLOAT, 32),
                   .compute_copy = tensor(copy + first, &count, TH_DTYPE_BFLOAT, 16),
                   .states = &state,
                   .learning_rate = with.learning_rate,
                   .weight_decay_multiplier = with.weight_decay_multiplier};
  const th_update_call call = {.struct_size = sizeof call, .gradient_scale = &with.gradient_scale, .momentum = with.momentum};
  one.master.device_type = with.device_type;
  return api->update(optimizer, &call, &one, 1);
}

static void begin(float parameter, float slope) {
  for (int i = 0; i < kCount; ++i) master[i] = parameter, gradient[i] = slope, velocity[i] = 0, copy[i] = 0;
}

static th_optimizer *create(double momentum, double weight_decay) {
  th_optimizer *optimizer = NULL;
  th_test_set_number(&host, "momentum", momentum);
  th_test_set_number(&host, "weight_decay", weight_decay);
  TH_TEST(api->create(&host.table, th_test_config(&host), &optimizer) == TH_OK);
  return optimizer;
}

static const settings kUsual = {
    .learning_rate = 0.25, .momentum = NAN, .weight_decay_multiplier = 1, .gradient_scale = 0.5f, .device_type = TH_DEVICE_CPU};

/* Under a constant gradient g the velocity is g (1 - m^n) / (1 - m) after n steps. With powers of two nothing is rounded. */
static void gathers_speed(void) {
  th_optimizer *optimizer = create(0.5, 0);
  double expected = 8;
  begin(8, 2); /* g = 1 by the gradient scale */
  for (int n = 1; n <= 4; ++n) {
    TH_TEST(update(optimizer, kUsual, 0, kCount) == TH_OK);
    expected -= 0.25 * (1 - pow(0.5, n)) / (1 - 0.5);
    for (int i = 0; i < kCount; ++i) TH_TEST(master[i] == (float)expected);
  }
  api->destroy(optimizer);
}

static void takes_the_schedules_momentum(void) {
  th_optimizer *optimizer = create(0.5, 0);
  settings without_momentum = kUsual;
  without_momentum.momentum = 0;
  begin(8, 2);
  for (int n = 0; n < 3; ++n) TH_TEST(update(optimizer, without_momentum, 0, kCount) == TH_OK);
  TH_TEST(master[0] == 8 - 3 * 0.25f);
  api->destroy(optimizer);
}

/* lr (g + d p) = 1/4 (1 + 1/2 x 8); a multiplier of 0 switches the decay off. */
static void decays(void) {
  th_optimizer *optimizer = create(0, 0.5);
  settings without_decay = kUsual;
  begin(8, 2);
  TH_TEST(update(optimizer, kUsual, 0, 1) == TH_OK && master[0] == 8 - 1.25f);
  without_decay.weight_decay_multiplier = 0;
  begin(8, 2);
  TH_TEST(update(optimizer, without_decay, 0, 1) == TH_OK && master[0] == 8 - 0.25f);
  api->destroy(optimizer);
}

/* A process that holds a piece computes the same bits as one that holds the whole. */
static void does_not_see_where_it_is_cut(void) {
  static float whole[kCount];
  th_optimizer *optimizer = create(0.9, 0.01);
  for (int cut = 0; cut < 2; ++cut) {
    begin(0, 0);
    for (int i = 0; i < kCount; ++i) master[i] = sinf((float)i), gradient[i] = cosf((float)i);
    TH_TEST(update(optimizer, kUsual, 0, cut ? 12345 : kCount) == TH_OK);
    if (cut) TH_TEST(update(optimizer, kUsual, 12345, kCount - 12345) == TH_OK);
    if (cut) TH_TEST(memcmp(whole, master, sizeof whole) == 0);
    memcpy(whole, master, sizeof whole);
  }
  api->destroy(optimizer);
}

/* 1 + 2^-8 and 1 + 3 x 2^-8 lie half-way between two bfloat16; the even ones are 1 and 1 + 4 x 2^-8. */
static void writes_the_rounded_copy(void) {
  th_optimizer *optimizer = create(0, 0);
  begin(0, 0);
  master[0] = 1 + 0x1p-8f, master[1] = 1 + 0x3p-8f, master[2] = -1.5f;
  TH_TEST(update(optimizer, kUsual, 0, kCount) == TH_OK);
  TH_TEST(copy[0] == 0x3F80 && copy[1] == 0x3F82 && copy[2] == 0xBFC0);
  api->destroy(optimizer);
}

static void refuses_other_devices(void) {
  th_optimizer *optimizer = create(0, 0);
  settings on_cuda = kUsual;
  on_cuda.device_type = TH_DEVICE_CUDA;
  begin(8, 2);
  TH_TEST(update(optimizer, on_cuda, 0, kCount) == TH_UNSUPPORTED && master[0] == 8);
  TH_TEST(strstr(host.failure, "CPUs only") != NULL);
  api->destroy(optimizer);
}

static void keeps_one_velocity_per_element(void) {
  const th_parameter_info info = {.struct_size = sizeof info, .rank = 1, .shape = {kCount}};
  th_state_info state;
  uint32_t count = 0;
  th_optimizer *optimizer = create(0, 0);
  TH_TEST(api->granularity(optimizer) == TH_GRANULARITY_ELEMENT);
  TH_TEST(api->describe_states(optimizer, &info, &state, 1, &count) == TH_OK && count == 1);
  TH_TEST(state.rank == -1 && th_test_same(state.name, "velocity") && state.initial == 0);
  api->destroy(optimizer);
}

int main(int count, char **arguments) {
  TH_TEST(count == 2);
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_OPTIMIZER);
  gathers_speed();
  takes_the_schedules_momentum();
  decays();
  does_not_see_where_it_is_cut();
  writes_the_rounded_copy();
  refuses_other_devices();
  keeps_one_velocity_per_element();
  TH_TEST(host.blocks == 0);
  return 0;
}
