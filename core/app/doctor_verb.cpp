#include "app/doctor_verb.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "collectives/c10d_module.h"
#include "collectives/launch_environment.h"
#include "device/cuda_driver.h"
#include "device/thread_pool.h"
#include "metrics/quantities.h"
#include "plugin_host/registry.h"

namespace trainhost {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kLittleMemory = 1'000'000'000;

struct Problem {
  ErrorKind kind;
  std::string text;  // what is wrong, and what to do
  bool prevents_training;
};

struct Diagnosis {
  Json facts;  // by topic
  std::vector<Problem> problems;

  void advise(std::string text) { problems.push_back({ErrorKind::kInternal, std::move(text), false}); }
  void prevent(Error error) { problems.push_back({error.kind, std::move(error.message), true}); }
};

// ---- How it was started

constexpr const char *kLaunchVariables[] = {"TRAINHOST_RANK",
                                            "TRAINHOST_WORLD_SIZE",
                                            "TRAINHOST_INTERFACE",
                                            "TRAINHOST_TOKEN",
                                            "RANK",
                                            "WORLD_SIZE",
                                            "LOCAL_RANK",
                                            "LOCAL_WORLD_SIZE",
                                            "GROUP_RANK",
                                            "MASTER_ADDR",
                                            "MASTER_PORT",
                                            "TORCHELASTIC_USE_AGENT_STORE",
                                            "TORCHELASTIC_RESTART_COUNT",
                                            "TORCHELASTIC_RUN_ID",
                                            "TORCHELASTIC_ERROR_FILE",
                                            "SLURM_JOB_ID",
                                            "SLURM_JOB_NAME",
                                            "SLURM_STEP_ID",
                                            "SLURM_PROCID",
                                            "SLURM_LOCALID",
                                            "SLURM_NODEID",
                                            "SLURM_NTASKS",
                                            "SLURM_TASKS_PER_NODE",
                                            "SLURM_STEP_TASKS_PER_NODE",
                                            "SLURM_JOB_NODELIST",
                                            "SLURM_STEP_NODELIST",
                                            "SLURM_RESTART_COUNT"};

Json variables_set() {
  Json variables = Json::object();
  for (const std::string name : kLaunchVariables) {
    const auto value = process_environment()(name);
    if (value) variables[name] = name == "TRAINHOST_TOKEN" ? fmt::format("({} characters)", value->size()) : *value;
  }
  return variables;
}

LaunchEnvironment examine_launch(Diagnosis &diagnosis) {
  Json &facts = diagnosis.facts["launch"];
  const auto found = detect_launch(process_environment());
  if (!found) diagnosis.prevent(found.error());
  const LaunchEnvironment launch = found.value_or(LaunchEnvironment{});
  if (found) {
    facts["started_by"] = to_string(launch.launcher);
    facts["rank"] = launch.rank;
    facts["world_size"] = launch.world_size;
    facts["local_rank"] = launch.local_rank;
    facts["local_world_size"] = launch.local_world_size;
  }
  if (launch.world_size > 1) {
    facts["master"] = fmt::format("{}:{}", launch.master_address, launch.master_port);
    facts["store"] = launch.agent_store ? "torchrun's" : "of rank 0";
    facts["interface"] = launch.interface;
    facts["restart_count"] = launch.restart_count;
    facts["job"] = launch.job;
  }
  facts["variables"] = variables_set();
  return launch;
}

// ---- The machine

// The value after "NAME:" in a file of such lines.
std::string line_in(const std::string &path, const std::string &name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos || line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1) != name) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

uint64_t meminfo_bytes(const std::string &name) { return std::strtoull(line_in("/proc/meminfo", name).c_str(), nullptr, 10) * 1024; }

// What a file of the control group says; kUnlimited for "max" and where there is no group.
uint64_t group_value(const std::string &name) {
  std::ifstream file("/sys/fs/cgroup/" + name);
  uint64_t value = 0;
  return file >> value ? value : kUnlimited;
}

uint64_t memory_available() {
  const uint64_t limit = group_value("memory.max"), used = group_value("memory.current");
  const uint64_t within_group = limit == kUnlimited || used == kUnlimited ? kUnlimited : limit - std::min(used, limit);
  return std::min(meminfo_bytes("MemAvailable"), within_group);
}

// The processor time that the control group allows, in cores; 0: any.
double allowed_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0, period = 0;
  return file >> quota >> period && period > 0 ? quota / period : 0;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) names.emplace_back("AVX2");
  if (__builtin_cpu_supports("fma")) names.emplace_back("FMA");
  if (__builtin_cpu_supports("avx512f")) names.emplace_back("AVX-512");
  if (__builtin_cpu_supports("avx512bf16")) names.emplace_back("AVX-512 BF16");
#endif
  return names;
}

void examine_threads(const LaunchEnvironment &launch, Diagnosis &diagnosis) {
  const double allowed = allowed_cores();
  const double cores = allowed > 0 ? std::min<double>(allowed, core_count()) : core_count();
  Json &facts = diagnosis.facts["machine"];
  facts["cores"] = core_count();
  if (allowed > 0) facts["cores_allowed"] = allowed;
  facts["threads"] = thread_count();
  const int processes = static_cast<int>(launch.local_world_size), best = std::max(static_cast<int>(cores / processes), 1);
  if (thread_count() <= best) return;
  diagnosis.advise(fmt::format("{} threads on {:g} cores are slower than one on each: export OMP_NUM_THREADS={}",
                               thread_count() * processes, cores, best));
}

void examine_machine(const LaunchEnvironment &launch, Diagnosis &diagnosis) {
  Json &facts = diagnosis.facts["machine"];
  facts["processor"] = line_in("/proc/cpuinfo", "model name");
  facts["instruction_sets"] = instruction_sets();
  examine_threads(launch, diagnosis);
  const uint64_t available = memory_available();
  facts["memory_bytes"] = meminfo_bytes("MemTotal");
  facts["memory_available_bytes"] = available;
  if (available < kLittleMemory) {
    diagnosis.advise(fmt::format("only {} of memory are available: end other programs, or give the job more", bytes_text(available)));
  }
}

void examine_network(Diagnosis &diagnosis) {
  Json &facts = diagnosis.facts["network"] = Json::object();
  for (const auto &[interface, address] : network_of_this_machine().addresses()) facts[interface].push_back(address);
}

// ---- What is beside the program

void examine_processes(const LaunchEnvironment &launch, Diagnosis &diagnosis) {
  const auto module = c10d_module();
  diagnosis.facts["several_processes"]["possible"] = module.has_value();
  if (module) return;
  diagnosis.facts["several_processes"]["reason"] = module.error().message;
  if (launch.world_size > 1) diagnosis.prevent(module.error());
}

void examine_cuda(Diagnosis &diagnosis) {
  Json &facts = diagnosis.facts["cuda"];
  const auto driver = cuda_driver();
  facts["found"] = driver.has_value();
  if (!driver) {
    facts["reason"] = driver.error().message;
    return;
  }
  facts["driver"] = fmt::format("CUDA {}.{}", driver->version / 1000, driver->version % 1000 / 10);
  for (const CudaDevice &device : driver->devices) {
    facts["devices"].push_back({{"name", device.name},
                                {"memory_bytes", device.memory_bytes},
                                {"compute_capability", fmt::format("{}.{}", device.capability_major, device.capability_minor)}});
  }
}

void examine_plugins(Diagnosis &diagnosis) {
  const PluginRegistry registry(PluginRegistry::search_path());
  Json &facts = diagnosis.facts["plugins"];
  facts["folders"] = registry.folders();
  for (const PluginKind kind :
       {PluginKind::kTokenizer, PluginKind::kDatasetMixer, PluginKind::kOptimizer, PluginKind::kLrScheduler, PluginKind::kModel}) {
    Json names = Json::array();
    for (const Manifest &manifest : registry.plugins()) {
      if (manifest.kind == kind) names.push_back(manifest.name);
    }
    if (names.empty()) {
      diagnosis.prevent(
          {ErrorKind::kPlugin, fmt::format("there is no {} plugin in {}: copy it there, or name its folder in TRAINHOST_PLUGIN_PATH",
                                           to_string(kind), fmt::join(registry.folders(), ", "))});
    }
    facts[std::string(to_string(kind))] = std::move(names);
  }
  for (const auto &[path, reason] : registry.rejected()) diagnosis.advise(reason);
}

// ---- Printing

std::string text_of(const std::string &key, const Json &value) {
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() && key.ends_with("_bytes")) return bytes_text(value.get<uint64_t>());
  if (!value.is_structured()) return value.dump();
  std::vector<std::string> parts;
  for (const auto &[name, part] : value.items()) {
    parts.push_back(value.is_object() ? fmt::format("{} {}", name, text_of(name, part)) : text_of(key, part));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

// "memory_available_bytes" -> "memory available"
std::string title_of(std::string key) {
  if (key.ends_with("_bytes")) key.erase(key.size() - 6);
  std::ranges::replace(key, '_', ' ');
  return key;
}

void print_text(const Diagnosis &diagnosis, std::ostream &out) {
  for (const auto &[topic, facts] : diagnosis.facts.items()) {
    out << title_of(topic) << "\n";
    for (const auto &[key, value] : facts.items()) {
      if (const std::string text = text_of(key, value); !text.empty()) out << fmt::format("  {:<18} {}\n", title_of(key), text);
    }
  }
  out << (diagnosis.problems.empty() ? "no problems\n" : "problems\n");
  for (const Problem &problem : diagnosis.problems) {
    out << fmt::format("  {}{}\n", problem.prevents_training ? "prevents training: " : "", problem.text);
  }
}

void print_json(const Diagnosis &diagnosis, std::ostream &out) {
  Json document = diagnosis.facts;
  document["problems"] = Json::array();
  for (const Problem &problem : diagnosis.problems) {
    document["problems"].push_back({{"text", problem.text}, {"prevents_training", problem.prevents_training}});
  }
  out << document.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

Result<> print_diagnosis(bool json, std::ostream &out) {
  Diagnosis diagnosis;
  const LaunchEnvironment launch = examine_launch(diagnosis);
  examine_machine(launch, diagnosis);
  examine_network(diagnosis);
  examine_processes(launch, diagnosis);
  examine_cuda(diagnosis);
  examine_plugins(diagnosis);
  json ? print_json(diagnosis, out) : print_text(diagnosis, out);
  const auto first = std::ranges::find_if(diagnosis.problems, &Problem::prevents_training);
  if (first == diagnosis.problems.end()) return {};
  return failure(first->kind, "training would fail here: " + first->text);
}

}  // namespace trainhost
