/* Calls the plugin as the host does, through its C table, and compares with SciPy's PchipInterpolator: test FILE.so */
#include <math.h>

#include <trainhost/kinds/lr_scheduler.h>
#include <trainhost/testing/host.h>

#include "pchip_values.h"

enum { kTokens = 2000 };
static const double kPeak = 0.5;

static th_test_host host;
static const th_lr_scheduler_api *api;

static th_progress at(uint64_t tokens) {
  const th_progress progress = {.struct_size = sizeof progress, .tokens = tokens, .total_tokens = kTokens, .phase_end_token = kTokens};
  return progress;
}

static th_status create(const char *points, const char *scale, th_lr_scheduler **scheduler) {
  const th_progress run = at(0);
  *scheduler = NULL;
  host.failure[0] = '\0';
  th_test_set_number(&host, "peak_lr", kPeak);
  th_test_set_string(&host, "points", points);
  th_test_set_string(&host, "scale", scale);
  return api->create(&host.table, th_test_config(&host), &run, scheduler);
}

static th_schedule_values values_at(const th_lr_scheduler *scheduler, uint64_t tokens) {
  th_schedule_values values = {.struct_size = sizeof values, .weight_decay_multiplier = 1, .momentum = NAN};
  const th_progress now = at(tokens);
  TH_TEST(api->values(scheduler, &now, &values) == TH_OK);
  return values;
}

static void follows_scipy(const char *points, const char *scale, const double *expected) {
  th_lr_scheduler *scheduler = NULL;
  TH_TEST(create(points, scale, &scheduler) == TH_OK);
  for (uint64_t i = 0; i < kValues; ++i) TH_TEST(th_test_near(values_at(scheduler, i * 25).learning_rate, kPeak * expected[i], 1e-13));
  api->destroy(scheduler);
}

/* Between two points it neither turns nor leaves their range. */
static void is_monotone_between_points(const char *points, const uint64_t *tokens, const double *values, size_t count) {
  th_lr_scheduler *scheduler = NULL;
  TH_TEST(create(points, "linear", &scheduler) == TH_OK);
  for (size_t k = 0; k + 1 < count; ++k) {
    double before = values_at(scheduler, tokens[k]).learning_rate;
    TH_TEST(th_test_near(before, kPeak * values[k], 1e-15));
    for (uint64_t t = tokens[k] + 1; t <= tokens[k + 1]; ++t) {
      const double now = values_at(scheduler, t).learning_rate;
      TH_TEST(values[k + 1] >= values[k] ? now >= before : now <= before);
      before = now;
    }
    TH_TEST(th_test_near(before, kPeak * values[k + 1], 1e-15));
  }
  api->destroy(scheduler);
}

static void holds_the_value_outside_the_points(void) {
  th_lr_scheduler *scheduler = NULL;
  TH_TEST(create("25%: 1, 75%: 0.25", "linear", &scheduler) == TH_OK);
  TH_TEST(values_at(scheduler, 0).learning_rate == kPeak && values_at(scheduler, 1999).learning_rate == kPeak * 0.25);
  TH_TEST(th_test_same(values_at(scheduler, 0).stage, "stable"));
  TH_TEST(th_test_same(values_at(scheduler, 500).stage, "decay"));
  TH_TEST(th_test_same(values_at(scheduler, 1500).stage, "stable"));
  api->destroy(scheduler);
  TH_TEST(create("50%: 0.1, 60%: 0.11, 65%: 1", "linear", &scheduler) == TH_OK); /* whose cubic would rise to the left */
  TH_TEST(values_at(scheduler, 900).learning_rate == kPeak * 0.1);
  api->destroy(scheduler);
}

static void takes_all_amounts_alike(void) {
  const char *const same[] = {"5%: 0, 100%: 1", "100 tokens:0,2000 tokens:1", " 4 steps : 0 , 80 steps : 1 "};
  for (size_t i = 0; i < sizeof same / sizeof same[0]; ++i) {
    th_lr_scheduler *scheduler = NULL;
    TH_TEST(create(same[i], "linear", &scheduler) == TH_OK);
    TH_TEST(values_at(scheduler, 100).learning_rate == 0);
    TH_TEST(th_test_near(values_at(scheduler, 1050).learning_rate, kPeak / 2, 1e-15));
    api->destroy(scheduler);
  }
}

static void refuses(const char *points, const char *scale, const char *reason) {
  th_lr_scheduler *scheduler = NULL;
  TH_TEST(create(points, scale, &scheduler) == TH_INVALID && scheduler == NULL);
  if (strstr(host.failure, reason) == NULL) th_test_fail(points, 0, host.failure);
}

static void says_where_a_mistake_is(void) {
  refuses("", "linear", "points, character 1: found the end, expected a position, as 2%, 500 steps or 5M tokens");
  refuses("0%: 1", "linear", "points, character 6: found the end, expected \",\" and another point: a curve needs two");
  refuses("0%: 1, 100% 0.1", "linear", "points, character 8: found \"100% 0.1\", expected a position");
  refuses("0%: 1, 40 stops: 0.1", "linear", "points, character 8: found \"40 stops: 0.\", expected a position");
  refuses("0%: 1, 100%: -1", "linear", "points, character 14: found \"-1\", expected a value, as 0.5, not negative");
  refuses("0%: 1, 100%: nan", "linear", "points, character 14: found \"nan\"");
  refuses("0%: 1, 50%: 1; 100%: 0", "linear", "points, character 14: found \"; 100%: 0\", expected \",\"");
  refuses("50%: 1, 50%: 0.5", "linear", "points, character 9: found \"50%: 0.5\", expected a position after the one before it");
  refuses("0%: 1, 3000 tokens: 0.5", "linear",
          "points, character 8: found \"3000 tokens:\", expected a position within the run's 2000 tokens");
  refuses("0%: 0, 100%: 1", "log", "scale = \"log\" with a point of value 0");
}

int main(int count, char **arguments) {
  static const char kWarmUpAndDecay[] = "0%: 0, 2%: 1, 90%: 1, 100%: 0.1";
  static const char kUpAndDown[] = "0%: 0.2, 5%: 0.9, 15%: 1, 45%: 0.3, 50%: 0.5, 80%: 0.05, 100%: 0.01";
  static const uint64_t kUpAndDownTokens[] = {0, 100, 300, 900, 1000, 1600, 2000};
  static const double kUpAndDownValues[] = {0.2, 0.9, 1, 0.3, 0.5, 0.05, 0.01};
  TH_TEST(count == 2);
  th_test_host_begin(&host);
  host.step_tokens = 25;
  host.total_tokens = kTokens;
  api = th_test_open(&host, arguments[1], TH_KIND_LR_SCHEDULER);
  follows_scipy(kWarmUpAndDecay, "linear", warm_up_and_decay_linear);
  follows_scipy(kUpAndDown, "linear", up_and_down_linear);
  follows_scipy(kUpAndDown, "log", up_and_down_log);
  follows_scipy("25%: 1, 75%: 0.25", "linear", two_points_linear);
  follows_scipy("25%: 1, 75%: 0.25", "log", two_points_log);
  follows_scipy("0%: 0, 50%: 0.01, 55%: 1, 100%: 0.9", "linear", steep_ends_linear);
  is_monotone_between_points(kUpAndDown, kUpAndDownTokens, kUpAndDownValues, 7);
  holds_the_value_outside_the_points();
  takes_all_amounts_alike();
  says_where_a_mistake_is();
  TH_TEST(host.blocks == 0);
  return 0;
}
