#include "collectives/launch_environment.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "collectives/host_list.h"

namespace trainhost {
namespace {

constexpr uint32_t kMostRanks = 65536;
constexpr size_t kShortestToken = 32;
constexpr char kMakeToken[] = "in the script that starts the processes: export TRAINHOST_TOKEN=$(openssl rand -hex 32)";

template <class... Arguments>
tl::unexpected<Error> bad(fmt::format_string<Arguments...> text, Arguments &&...arguments) {
  return failure(ErrorKind::kUsage, fmt::format(text, std::forward<Arguments>(arguments)...));
}

// The variables of one launcher. `sign` is the one that shows that it was this launcher.
class Variables {
 public:
  Variables(EnvironmentReader reader, std::string sign) : reader_(std::move(reader)), sign_(std::move(sign)) {}

  std::optional<std::string> look(const std::string &name) const { return reader_(name); }

  Result<std::string> text(const std::string &name) const {
    if (auto value = look(name)) return *std::move(value);
    return bad("{} is not set although {} is: set both, or unset {} to train with one process", name, sign_, sign_);
  }

  Result<uint32_t> number(const std::string &name, uint32_t least, uint32_t most) const {
    TRAINHOST_TRY(const std::string value, text(name));
    uint32_t number = 0;
    const char *const end = value.data() + value.size();
    const auto [stop, problem] = std::from_chars(value.data(), end, number);
    if (problem != std::errc() || stop != end || number < least || number > most) {
      return bad("{} is \"{}\", expected a whole number from {} to {}", name, value, least, most);
    }
    return number;
  }

  Result<uint32_t> number_or(uint32_t otherwise, const std::string &name, uint32_t least, uint32_t most) const {
    if (!look(name)) return otherwise;
    return number(name, least, most);
  }

  // A number from 0 on that stays below the one in another variable.
  Result<uint32_t> index(const std::string &name, const std::string &count_name, uint32_t count) const {
    TRAINHOST_TRY(const uint32_t value, number(name, 0, kMostRanks - 1));
    if (value >= count) return bad("{} is {} and {} is {}, expected 0 to {}", name, value, count_name, count, count - 1);
    return value;
  }

 private:
  EnvironmentReader reader_;
  std::string sign_;
};

Result<std::string> token(const Variables &variables, bool needed) {
  const auto given = variables.look("TRAINHOST_TOKEN");
  if (!given && needed) {
    return bad("TRAINHOST_TOKEN is not set: the processes of a run know each other by a secret that nobody else has; {}", kMakeToken);
  }
  if (given && given->size() < kShortestToken) {
    return bad("TRAINHOST_TOKEN has {} characters, expected at least {} random ones; {}", given->size(), kShortestToken, kMakeToken);
  }
  return given.value_or("");
}

// RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE, with a prefix.
Result<> read_ranks(const Variables &variables, const std::string &prefix, LaunchEnvironment &launch) {
  const std::string size = prefix + "WORLD_SIZE", local_size = prefix + "LOCAL_WORLD_SIZE";
  TRAINHOST_TRY(launch.world_size, variables.number(size, 1, kMostRanks));
  TRAINHOST_TRY(launch.rank, variables.index(prefix + "RANK", size, launch.world_size));
  TRAINHOST_TRY(launch.local_world_size, variables.number(local_size, 1, kMostRanks));
  TRAINHOST_TRY(launch.local_rank, variables.index(prefix + "LOCAL_RANK", local_size, launch.local_world_size));
  if (launch.local_world_size > launch.world_size) {
    return bad("{} is {} and {} is {}, expected no more on one machine than in all", local_size, launch.local_world_size, size,
               launch.world_size);
  }
  return {};
}

Result<> read_master(const Variables &variables, const std::string &prefix, LaunchEnvironment &launch) {
  TRAINHOST_TRY(launch.master_address, variables.text(prefix + "MASTER_ADDR"));
  TRAINHOST_TRY(launch.master_port, variables.number(prefix + "MASTER_PORT", 1, 65535));
  return {};
}

Result<LaunchEnvironment> from_trainhost(const EnvironmentReader &reader) {
  const Variables variables(reader, "TRAINHOST_RANK");
  LaunchEnvironment launch;
  launch.launcher = Launcher::kTrainhost;
  TRAINHOST_CHECK(read_ranks(variables, "TRAINHOST_", launch));
  TRAINHOST_CHECK(read_master(variables, "TRAINHOST_", launch));
  TRAINHOST_TRY(launch.token, token(variables, true));
  TRAINHOST_TRY(launch.restart_count, variables.number("TRAINHOST_RESTART_COUNT", 0, UINT32_MAX));
  if (launch.rank == 0) {
    TRAINHOST_TRY(launch.listener, variables.number("TRAINHOST_LISTENER", 0, INT32_MAX));
  }
  return launch;
}

Result<LaunchEnvironment> from_torchrun(const EnvironmentReader &reader) {
  const Variables variables(reader, "GROUP_RANK");
  LaunchEnvironment launch;
  launch.launcher = Launcher::kTorchrun;
  TRAINHOST_CHECK(read_ranks(variables, "", launch));
  TRAINHOST_CHECK(read_master(variables, "", launch));
  launch.agent_store = variables.look("TORCHELASTIC_USE_AGENT_STORE") == "True";
  TRAINHOST_TRY(launch.token, token(variables, launch.world_size > 1 && !launch.agent_store));
  TRAINHOST_TRY(launch.restart_count, variables.number_or(0, "TORCHELASTIC_RESTART_COUNT", 0, UINT32_MAX));
  launch.job = variables.look("TORCHELASTIC_RUN_ID").value_or("");
  return launch;
}

// srun sets SLURM_STEP_ID; the script of sbatch and the shell of salloc have the other variables too but are no task.
Result<bool> is_slurm_task(const EnvironmentReader &reader) {
  const Variables variables(reader, "SLURM_PROCID");
  const auto name = variables.look("SLURM_JOB_NAME");
  if (!variables.look("SLURM_PROCID") || name == "bash" || name == "interactive") return false;
  TRAINHOST_TRY(const uint32_t tasks, variables.number("SLURM_NTASKS", 1, kMostRanks));
  if (variables.look("SLURM_STEP_ID")) return true;
  if (tasks == 1) return false;
  return bad(
      "SLURM_NTASKS is {} but srun did not start this process: start trainhost with srun, or ask Slurm for one task "
      "(--ntasks=1 --cpus-per-task=...) and use --processes",
      tasks);
}

Result<uint32_t> slurm_local_size(const Variables &variables, uint32_t machines, uint32_t tasks) {
  for (const std::string name : {"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}) {
    const auto given = variables.look(name);
    if (!given) continue;
    const auto each = expand_tasks_per_node(*given);
    if (!each) return bad("{}: {}", name, each.error().message);
    TRAINHOST_TRY(const uint32_t node, variables.index("SLURM_NODEID", "the number of machines in " + name, uint32_t(each->size())));
    if ((*each)[node] > tasks) {
      return bad("{} gives this machine {} tasks and SLURM_NTASKS is {}, expected no more on one machine than in all", name, (*each)[node],
                 tasks);
    }
    return (*each)[node];
  }
  if (machines == 1) return tasks;
  return variables.number("SLURM_STEP_TASKS_PER_NODE", 1, tasks);  // says that it is missing
}

// Those of the step where there is one: it may have a part of the job's machines.
Result<std::vector<std::string>> slurm_hosts(const Variables &variables) {
  for (const std::string name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
    const auto given = variables.look(name);
    if (!given) continue;
    auto hosts = expand_host_list(*given);
    if (!hosts) return bad("{}: {}", name, hosts.error().message);
    return hosts;
  }
  return tl::unexpected(variables.text("SLURM_JOB_NODELIST").error());
}

// The rule that PyTorch Lightning has made usual: the last four digits of the job's number + 15000.
Result<uint16_t> slurm_port(const Variables &variables) {
  if (variables.look("MASTER_PORT")) return variables.number("MASTER_PORT", 1, 65535);
  TRAINHOST_TRY(const uint32_t job, variables.number("SLURM_JOB_ID", 0, UINT32_MAX));
  return static_cast<uint16_t>(15000 + job % 10000);
}

Result<LaunchEnvironment> from_slurm(const EnvironmentReader &reader) {
  const Variables variables(reader, "SLURM_PROCID");
  LaunchEnvironment launch;
  launch.launcher = Launcher::kSlurm;
  TRAINHOST_TRY(launch.world_size, variables.number("SLURM_NTASKS", 1, kMostRanks));
  TRAINHOST_TRY(launch.rank, variables.index("SLURM_PROCID", "SLURM_NTASKS", launch.world_size));
  TRAINHOST_TRY(const auto hosts, slurm_hosts(variables));
  TRAINHOST_TRY(launch.local_world_size, slurm_local_size(variables, static_cast<uint32_t>(hosts.size()), launch.world_size));
  TRAINHOST_TRY(launch.local_rank, variables.index("SLURM_LOCALID", "the number of tasks on this machine", launch.local_world_size));
  launch.master_address = variables.look("MASTER_ADDR").value_or(hosts.front());
  TRAINHOST_TRY(launch.master_port, slurm_port(variables));
  TRAINHOST_TRY(launch.token, token(variables, launch.world_size > 1));
  TRAINHOST_TRY(launch.restart_count, variables.number_or(0, "SLURM_RESTART_COUNT", 0, UINT32_MAX));
  launch.job = variables.look("SLURM_JOB_ID").value_or("");
  return launch;
}

// Nobody says which ranks share a machine: all of them where the master is this machine whoever asks, otherwise each has its own unless
// LOCAL_RANK and LOCAL_WORLD_SIZE are set.
Result<LaunchEnvironment> from_plain(const EnvironmentReader &reader) {
  const Variables variables(reader, reader("RANK") ? "RANK" : "WORLD_SIZE");
  LaunchEnvironment launch;
  launch.launcher = Launcher::kPlain;
  TRAINHOST_TRY(launch.world_size, variables.number("WORLD_SIZE", 1, kMostRanks));
  TRAINHOST_TRY(launch.rank, variables.index("RANK", "WORLD_SIZE", launch.world_size));
  if (launch.world_size == 1) return launch;
  TRAINHOST_CHECK(read_master(variables, "", launch));
  if (variables.look("LOCAL_RANK") || variables.look("LOCAL_WORLD_SIZE")) {
    TRAINHOST_CHECK(read_ranks(variables, "", launch));
  } else if (is_loopback(launch.master_address)) {
    launch.local_rank = launch.rank;
    launch.local_world_size = launch.world_size;
  }
  TRAINHOST_TRY(launch.token, token(variables, true));
  return launch;
}

Result<LaunchEnvironment> read_variables(const EnvironmentReader &reader) {
  const auto set = [&](const char *name) { return reader(name).has_value(); };
  if (set("TRAINHOST_RANK")) return from_trainhost(reader);
  if (set("RANK") && set("GROUP_RANK") && set("LOCAL_RANK") && set("LOCAL_WORLD_SIZE")) return from_torchrun(reader);
  TRAINHOST_TRY(const bool slurm, is_slurm_task(reader));
  if (slurm) return from_slurm(reader);
  if (set("RANK") || set("WORLD_SIZE")) return from_plain(reader);
  return LaunchEnvironment{};
}

// TRAINHOST_INTERFACE as an address. Any address (0.0.0.0) is none.
Result<std::string> wanted_interface(const std::string &wanted, const Network &network) {
  std::vector<std::string> known;
  for (const auto &[interface, address] : network.addresses()) {
    if (wanted == interface || wanted == address) return address;
    known.push_back(fmt::format("{} ({})", interface, address));
  }
  return bad("TRAINHOST_INTERFACE is \"{}\", which is no network interface or address of this machine; it has {}", wanted,
             fmt::join(known, ", "));
}

Result<std::string> interface_towards(const std::string &master, const Network &network) {
  TRAINHOST_TRY(std::string address, network.address_towards(master));
  if (!is_loopback(address)) return address;
  return bad(
      "the master \"{}\" is {} on this machine, where the other machines cannot reach it (see /etc/hosts): set TRAINHOST_INTERFACE "
      "to the network interface or address by which the machines of the run reach each other",
      master, address);
}

Result<> choose_interface(const EnvironmentReader &reader, const Network &network, LaunchEnvironment &launch) {
  const bool one_machine = launch.local_world_size == launch.world_size || is_loopback(launch.master_address);
  if (const auto wanted = reader("TRAINHOST_INTERFACE")) {
    TRAINHOST_TRY(launch.interface, wanted_interface(*wanted, network));
  } else if (!one_machine) {
    TRAINHOST_TRY(launch.interface, interface_towards(launch.master_address, network));
  }
  const bool chosen_already = launch.launcher == Launcher::kTrainhost || launch.agent_store;  // somebody listens there
  if (one_machine && !chosen_already) launch.master_address = launch.interface;
  return {};
}

}  // namespace

std::string_view to_string(Launcher launcher) {
  switch (launcher) {
    case Launcher::kNone:
      return "no launcher";
    case Launcher::kTrainhost:
      return "trainhost --processes";
    case Launcher::kTorchrun:
      return "torchrun";
    case Launcher::kSlurm:
      return "Slurm";
    case Launcher::kPlain:
      return "plain environment variables";
  }
  return "";
}

EnvironmentReader process_environment() {
  return [](const std::string &name) -> std::optional<std::string> {
    const char *value = std::getenv(name.c_str());
    return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
  };
}

Result<LaunchEnvironment> detect_launch(const EnvironmentReader &variable, const Network &network) {
  const EnvironmentReader not_empty = [&](const std::string &name) {
    auto value = variable(name);
    return value && !value->empty() ? value : std::nullopt;
  };
  TRAINHOST_TRY(LaunchEnvironment launch, read_variables(not_empty));
  TRAINHOST_CHECK(choose_interface(not_empty, network, launch));
  return launch;
}

}  // namespace trainhost
