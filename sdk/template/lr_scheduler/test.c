/* Calls the plugin as the host does, through its C table, and compares with the closed form: test FILE.so */
#include <math.h>

#include <trainhost/kinds/lr_scheduler.h>
#include <trainhost/testing/host.h>

static th_test_host host;
static const th_lr_scheduler_api *api;

static th_progress at(uint64_t tokens) {
  const th_progress progress = {.struct_size = sizeof progress, .tokens = tokens, .total_tokens = 2000, .phase_end_token = 2000};
  return progress;
}

static th_schedule_values values_at(const th_lr_scheduler *scheduler, uint64_t tokens) {
  th_schedule_values values = {.struct_size = sizeof values, .weight_decay_multiplier = 1, .momentum = NAN};
  const th_progress now = at(tokens);
  TH_TEST(api->values(scheduler, &now, &values) == TH_OK);
  return values;
}

static void follows_the_curve(const th_lr_scheduler *scheduler) {
  const struct {
    uint64_t tokens;
    double learning_rate;
    const char *stage;
  } expected[] = {{0, 0, "warmup"},
                  {50, 0.25, "warmup"},
                  {100, 0.5, "wave"},                                     /* the first top */
                  {300, 0.5 * (0.1 + 0.9 / 2), "wave"},                   /* half of the way down: cos(pi / 2) = 0 */
                  {400, 0.5 * (0.1 + 0.9 * (1 - sqrt(0.5)) / 2), "wave"}, /* cos(3 pi / 4) = -sqrt(1/2) */
                  {500, 0.25, "wave"},                                    /* the second top */
                  {1100, 0.125 * (0.1 + 0.9 / 2), "wave"}};
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; ++i) {
    const th_schedule_values found = values_at(scheduler, expected[i].tokens);
    TH_TEST(th_test_near(found.learning_rate, expected[i].learning_rate, 1e-12));
    TH_TEST(th_test_same(found.stage, expected[i].stage));
  }
}

/* In any order, as often as you like: the same bits. */
static void is_pure(const th_lr_scheduler *scheduler) {
  const double first = values_at(scheduler, 777).learning_rate;
  values_at(scheduler, 1999);
  TH_TEST(values_at(scheduler, 777).learning_rate == first);
}

static void refuses_a_warmup_as_long_as_the_run(const th_progress *run) {
  th_lr_scheduler *scheduler = NULL;
  th_test_set_amount(&host, "warmup", 2000);
  TH_TEST(api->create(&host.table, th_test_config(&host), run, &scheduler) == TH_INVALID);
  TH_TEST(scheduler == NULL);
  TH_TEST(strstr(host.failure, "warmup is 2000") != NULL);
}

int main(int count, char **arguments) {
  const th_progress run = at(0);
  th_lr_scheduler *scheduler = NULL;
  TH_TEST(count == 2);
  th_test_host_begin(&host);
  api = th_test_open(&host, arguments[1], TH_KIND_LR_SCHEDULER);
  th_test_set_number(&host, "peak_lr", 0.5);
  th_test_set_amount(&host, "warmup", 100);
  th_test_set_amount(&host, "period", 400);
  th_test_set_number(&host, "floor", 0.1);
  th_test_set_number(&host, "shrink", 0.5);
  TH_TEST(api->create(&host.table, th_test_config(&host), &run, &scheduler) == TH_OK);
  follows_the_curve(scheduler);
  is_pure(scheduler);
  api->destroy(scheduler);
  refuses_a_warmup_as_long_as_the_run(&run);
  return 0;
}
