#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <thread>

#include <fmt/format.h>

#include "plugin_host/kind_table.h"
#include "plugin_host/library.h"
#include "validate/child.h"
#include "validate/rules.h"

namespace trainhost::validator {
namespace {

constexpr uint64_t kMostFailures = 100;  // of allocations, one after the other

Result<std::string> live(const Trial &trial, const SharedRecord &record = std::make_shared<HostRecord>()) {
  return rules_of(trial.manifest().kind).live(trial, record);
}

size_t threads_of_process() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator()));
}

Result<> loads(const Trial &trial) {
  doing("loading it and calling trainhost_plugin_entry");
  const size_t threads = threads_of_process();
  TRAINHOST_TRY([[maybe_unused]] const void *table, load_kind_table(trial.manifest()));
  if (threads_of_process() > threads) return broken("a thread was started while it was loaded");
  return {};
}

Result<> lives(const Trial &trial) {
  doing("a whole life of an instance");
  TRAINHOST_CHECK(live(trial));
  return {};
}

Result<> gives_back_memory(const Trial &trial) {
  doing("lives of instances, one after the other");
  for (int i = 0; i < 3; ++i) {
    const auto record = std::make_shared<HostRecord>();
    TRAINHOST_CHECK(live(trial, record));
    TRAINHOST_CHECK(record->check_memory());
  }
  return {};
}

Result<> same_results(const Trial &trial) {
  doing("two lives with the same seed");
  TRAINHOST_TRY(const std::string first, live(trial));
  TRAINHOST_TRY(const std::string second, live(trial));
  if (first != second) return broken("two instances gave different results for the same arguments");
  doing("a life on another thread");
  Result<std::string> third;
  std::thread([&] { third = live(trial); }).join();
  TRAINHOST_CHECK(third);
  if (first != *third) return broken("on another thread the results are different");
  return {};
}

Result<> lives_without_extensions(const Trial &trial) {
  const auto record = std::make_shared<HostRecord>();
  record->extensions = false;
  doing("a life in a host without optional services");
  const auto results = live(trial, record);
  if (!results && record->last_failure != TH_UNSUPPORTED) return tl::unexpected(results.error());
  return record->check_memory();
}

Result<> survives_lack_of_memory(const Trial &trial) {
  const auto counted = std::make_shared<HostRecord>();
  TRAINHOST_TRY(const std::string expected, live(trial, counted));
  const uint64_t all = counted->allocations;
  if (all == 0) return not_concerned("it takes no memory from the host");
  for (uint64_t i = 1; i <= std::min(all, kMostFailures); ++i) {
    const auto record = std::make_shared<HostRecord>();
    record->failing_allocation = std::max<uint64_t>(1, i * all / std::min(all, kMostFailures));
    doing(fmt::format("a life in which allocation {} of {} fails", record->failing_allocation, all));
    const auto results = live(trial, record);
    const auto refuse = [&](const std::string &found) {
      return broken(fmt::format("when allocation {} of {} fails: {}", record->failing_allocation, all, found));
    };
    if (!results && record->last_failure != TH_OUT_OF_MEMORY)
      return refuse(fmt::format("{}; expected TH_OUT_OF_MEMORY", results.error().message));
    if (results && *results != expected) return refuse("it went on, and its results are different");
    if (const auto memory = record->check_memory(); !memory) return refuse(memory.error().message);
  }
  return {};
}

Result<> can_be_cancelled(const Trial &trial) {
  const auto record = std::make_shared<HostRecord>();
  record->cancelled = true;
  doing("a life in a host that is being stopped");
  const auto results = live(trial, record);
  if (!results && record->last_failure != TH_CANCELLED)
    return broken(fmt::format("{}; expected TH_CANCELLED or success", results.error().message));
  return record->check_memory();
}

Result<> lives_in_the_smallest_host(const Trial &trial) {
  const auto record = std::make_shared<HostRecord>();
  record->smallest = true;
  const Manifest &manifest = trial.manifest();
  doing(fmt::format("a life in a host of ABI {}.{}, the least that its manifest asks for", manifest.minimum_abi_major,
                    manifest.minimum_abi_minor));
  TRAINHOST_CHECK(live(trial, record));
  return record->check_memory();
}

constexpr std::array kRules{
    Rule{"TH-ALL-01", "loads without starting threads, and its table has every required slot", loads},
    Rule{"TH-ALL-02", "does its work from create to destroy", lives},
    Rule{"TH-ALL-03", "gives back all memory of the host, each block once and with its size", gives_back_memory},
    Rule{"TH-ALL-04", "gives the same results for the same arguments, on any thread", same_results},
    Rule{"TH-ALL-05", "works without the host's optional services, or refuses with TH_UNSUPPORTED", lives_without_extensions},
    Rule{"TH-ALL-06", "reports TH_OUT_OF_MEMORY when the host has no memory, and leaks none", survives_lack_of_memory},
    Rule{"TH-ALL-07", "ends with TH_CANCELLED or success when the run is being stopped", can_be_cancelled},
    Rule{"TH-ALL-08", "asks no host for more than its minimum_abi promises", lives_in_the_smallest_host},
};

}  // namespace

std::span<const Rule> rules_of_every_kind() { return kRules; }

const KindRules &rules_of(PluginKind kind) {
  switch (kind) {
    case PluginKind::kTokenizer:
      return tokenizer_rules();
    case PluginKind::kDatasetMixer:
      return dataset_mixer_rules();
    case PluginKind::kOptimizer:
      return optimizer_rules();
    case PluginKind::kLrScheduler:
      return lr_scheduler_rules();
    case PluginKind::kModel:
      break;
  }
  return model_rules();
}

}  // namespace trainhost::validator
