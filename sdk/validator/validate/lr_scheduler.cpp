#include <algorithm>
#include <array>
#include <limits>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "plugin_host/adapters/lr_scheduler.h"
#include "validate/child.h"
#include "validate/guarded_memory.h"
#include "validate/rules.h"

namespace trainhost::validator {
namespace {

using Scheduler = std::unique_ptr<LrScheduler>;

Result<Scheduler> create(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>()) {
  TRAINHOST_TRY(auto instance, trial.instance(record));
  return LrScheduler::create(std::move(instance), trial.axis().progress(0));
}

void append_values(std::string &results, const ScheduleValues &values) {
  append(results, values.learning_rate);
  append(results, values.weight_decay_multiplier);
  append(results, values.momentum);
  results += values.stage + '\0';
}

// The values at every step, in the given order of steps, each at its place.
Result<std::vector<std::string>> values_at(const LrScheduler &scheduler, const Trial &trial, const std::vector<uint64_t> &steps) {
  std::vector<std::string> values(trial.axis().total_steps());
  for (const uint64_t step : steps) {
    doing(fmt::format("values at step {}", step));
    TRAINHOST_TRY(const ScheduleValues at_step, scheduler.values(trial.axis().progress(step)));
    append_values(values[step], at_step);
  }
  return values;
}

std::vector<uint64_t> all_steps(const Trial &trial) {
  std::vector<uint64_t> steps(trial.axis().total_steps());
  for (size_t i = 0; i < steps.size(); ++i) steps[i] = i;
  return steps;
}

Result<std::string> live(const Trial &trial, const SharedRecord &record) {
  TRAINHOST_TRY(const Scheduler scheduler, create(trial, record));
  TRAINHOST_TRY(const auto values, values_at(*scheduler, trial, all_steps(trial)));
  std::string results;
  for (const std::string &value : values) results += value;
  return results;
}

Result<> order_of_calls(const Trial &trial) {
  TRAINHOST_TRY(const Scheduler scheduler, create(trial));
  std::vector<uint64_t> steps = all_steps(trial);
  TRAINHOST_TRY(const auto forwards, values_at(*scheduler, trial, steps));
  std::ranges::reverse(steps);
  TRAINHOST_TRY(const auto backwards, values_at(*scheduler, trial, steps));
  const auto differs = std::ranges::mismatch(forwards, backwards).in1;
  if (differs == forwards.end()) return {};
  return broken(fmt::format("the values at step {} depend on the calls before", differs - forwards.begin()));
}

Result<> many_threads(const Trial &trial) {
  TRAINHOST_TRY(const Scheduler scheduler, create(trial));
  const std::vector<uint64_t> steps = all_steps(trial);
  TRAINHOST_TRY(const auto alone, values_at(*scheduler, trial, steps));
  std::array<Result<std::vector<std::string>>, 4> together;
  std::vector<std::thread> threads;
  for (auto &result : together) threads.emplace_back([&] { result = values_at(*scheduler, trial, steps); });
  for (std::thread &thread : threads) thread.join();
  for (const auto &result : together) {
    TRAINHOST_CHECK(result);
    if (*result != alone) return broken("four threads at once get other values than one");
  }
  return {};
}

// What is neither NaN nor of the length that struct_size says is the host's.
Result<> writes_its_struct_only(const Trial &trial) {
  TRAINHOST_TRY(const auto instance, trial.instance());
  const auto *api = static_cast<const th_lr_scheduler_api *>(instance->table());
  const th_progress run = trial.axis().progress(0);
  th_lr_scheduler *self = nullptr;
  TRAINHOST_CHECK(instance->check(api->create(instance->host(), instance->config(), &run, &self), "create"));
  GuardedArray<th_schedule_values> out(1);
  *out.data() = {.struct_size = sizeof(th_schedule_values),
                 .reserved = 0,
                 .learning_rate = 0,
                 .weight_decay_multiplier = 1,
                 .momentum = std::numeric_limits<double>::quiet_NaN(),
                 .stage = {}};
  doing("values into a struct that ends at a guarded page");
  const auto result = instance->check(api->values(self, &run, out.data()), "values");
  api->destroy(self);
  TRAINHOST_CHECK(result);
  if (out.data()->struct_size != sizeof(th_schedule_values)) return broken("values changed struct_size");
  return {};
}

// Runs of other lengths: of a single step, and of very many.
Result<> other_lengths(const Trial &trial) {
  for (const uint64_t steps : {uint64_t{1}, uint64_t{2}, uint64_t{10'000'000'000}}) {
    th_progress run = trial.axis().progress(0);
    run.total_steps = steps;
    run.total_tokens = run.phase_end_token = steps * 8192;
    TRAINHOST_TRY(auto instance, trial.instance());
    doing(fmt::format("create for a run of {} steps", steps));
    const auto scheduler = LrScheduler::create(std::move(instance), run);
    if (!scheduler) continue;  // refusing is allowed: lengths of the recipe may not fit
    for (const uint64_t step : {uint64_t{0}, steps / 2, steps - 1}) {
      doing(fmt::format("values at step {} of {}", step, steps));
      run.step = step;
      run.tokens = step * 8192;
      TRAINHOST_CHECK((*scheduler)->values(run));
    }
  }
  return {};
}

// What one call is given is gone in the next.
Result<> keeps_no_pointer(const Trial &trial) {
  TRAINHOST_TRY(auto instance, trial.instance());
  GuardedArray<th_progress> run(1, trial.axis().progress(0));
  doing("create");
  TRAINHOST_TRY(const Scheduler scheduler, LrScheduler::create(std::move(instance), *run.data()));
  run.memory().forbid();
  std::vector<GuardedArray<th_progress>> gone;
  for (const uint64_t step : all_steps(trial)) {
    auto &progress = gone.emplace_back(1, trial.axis().progress(step));
    doing(fmt::format("values at step {}, where nothing that earlier calls were given is there any more", step));
    TRAINHOST_CHECK(scheduler->values(*progress.data()));
    progress.memory().forbid();
  }
  return {};
}

constexpr std::array kRules{
    Rule{"TH-LR-01", "a step's values do not depend on the order of calls", order_of_calls},
    Rule{"TH-LR-02", "threads that ask at once get the same values", many_threads},
    Rule{"TH-LR-03", "writes nothing outside th_schedule_values", writes_its_struct_only},
    Rule{"TH-LR-04", "gives valid values, or refuses, for runs of one step and of very many", other_lengths},
    Rule{"TH-LR-05", "keeps no pointer to what a call is given", keeps_no_pointer},
};
constexpr KindRules kKind{kRules, live};

}  // namespace

const KindRules &lr_scheduler_rules() { return kKind; }

}  // namespace trainhost::validator
