#include "collectives/launch_environment.h"

#include <map>

#include <gtest/gtest.h>

namespace trainhost {
namespace {

using Variables = std::map<std::string, std::string>;

const std::string kToken(64, 'a');

// A machine with two addresses that can reach every host but "nowhere"; "myself" is in its /etc/hosts.
Network two_addresses() {
  return {.addresses =
              [] {
                return std::vector<InterfaceAddress>{{"lo", "127.0.0.1"}, {"eth0", "10.0.0.5"}, {"ib0", "10.1.0.5"}};
              },
          .address_towards = [](const std::string &host) -> Result<std::string> {
            if (host == "nowhere") return failure(ErrorKind::kUnavailable, "\"nowhere\" is not a host that this machine knows");
            return host == "myself" ? "127.0.1.1" : "10.0.0.5";
          }};
}

Result<LaunchEnvironment> detect(const Variables &variables) {
  return detect_launch(
      [&](const std::string &name) {
        const auto found = variables.find(name);
        return found == variables.end() ? std::nullopt : std::optional(found->second);
      },
      two_addresses());
}

LaunchEnvironment accepted(const Variables &variables) {
  const auto launch = detect(variables);
  EXPECT_TRUE(launch) << launch.error().message;
  return launch.value_or(LaunchEnvironment{});
}

// With some variables changed; "-": taken away.
Variables with(Variables variables, const Variables &changes) {
  for (const auto &[name, value] : changes) value == "-" ? void(variables.erase(name)) : void(variables[name] = value);
  return variables;
}

std::string error_of(const Variables &variables) {
  const auto launch = detect(variables);
  if (launch) return "accepted";
  EXPECT_EQ(launch.error().kind, ErrorKind::kUsage);
  return launch.error().message;
}

TEST(Alone, IsAProcessThatNobodyLaunched) {
  const auto launch = accepted({{"PATH", "/bin"}, {"MASTER_ADDR", "node1"}, {"SLURM_JOB_ID", "7"}, {"RANK", ""}});
  EXPECT_EQ(launch.launcher, Launcher::kNone);
  EXPECT_EQ(launch.world_size, 1u);
  EXPECT_EQ(launch.interface, "127.0.0.1");
}

const Variables kOwn{{"TRAINHOST_RANK", "0"},
                     {"TRAINHOST_WORLD_SIZE", "4"},
                     {"TRAINHOST_LOCAL_RANK", "0"},
                     {"TRAINHOST_LOCAL_WORLD_SIZE", "4"},
                     {"TRAINHOST_MASTER_ADDR", "127.0.0.1"},
                     {"TRAINHOST_MASTER_PORT", "4711"},
                     {"TRAINHOST_LISTENER", "5"},
                     {"TRAINHOST_TOKEN", kToken},
                     {"TRAINHOST_RESTART_COUNT", "2"}};

TEST(OwnLauncher, WinsOverAllOthers) {
  const auto launch = accepted(with(kOwn, {{"RANK", "7"}, {"WORLD_SIZE", "8"}, {"GROUP_RANK", "1"}, {"SLURM_PROCID", "3"}}));
  EXPECT_EQ(launch.launcher, Launcher::kTrainhost);
  EXPECT_EQ(launch.rank, 0u);
  EXPECT_EQ(launch.world_size, 4u);
  EXPECT_EQ(launch.local_world_size, 4u);
  EXPECT_EQ(launch.master_address, "127.0.0.1");
  EXPECT_EQ(launch.master_port, 4711);
  EXPECT_EQ(launch.listener, 5);
  EXPECT_EQ(launch.token, kToken);
  EXPECT_EQ(launch.restart_count, 2u);
  EXPECT_EQ(launch.interface, "127.0.0.1");
}

TEST(OwnLauncher, GivesTheListenerToRank0Only) {
  const auto launch = accepted(with(kOwn, {{"TRAINHOST_RANK", "3"}, {"TRAINHOST_LOCAL_RANK", "3"}, {"TRAINHOST_LISTENER", ""}}));
  EXPECT_EQ(launch.rank, 3u);
  EXPECT_EQ(launch.listener, std::nullopt);
}

TEST(OwnLauncher, SaysWhatIsWrong) {
  EXPECT_EQ(error_of(with(kOwn, {{"TRAINHOST_LISTENER", ""}})),
            "TRAINHOST_LISTENER is not set although TRAINHOST_RANK is: set both, or unset TRAINHOST_RANK to train with one process");
  EXPECT_EQ(error_of(with(kOwn, {{"TRAINHOST_RANK", "4"}})), "TRAINHOST_RANK is 4 and TRAINHOST_WORLD_SIZE is 4, expected 0 to 3");
}

// All that torchrun of PyTorch 2.11.0 sets, taken from a run of `torchrun --standalone --nproc-per-node 2`.
const Variables kTorchrun{{"GROUP_RANK", "0"},
                          {"GROUP_WORLD_SIZE", "1"},
                          {"LOCAL_RANK", "1"},
                          {"LOCAL_WORLD_SIZE", "2"},
                          {"MASTER_ADDR", "localhost"},
                          {"MASTER_PORT", "45149"},
                          {"OMP_NUM_THREADS", "1"},
                          {"RANK", "1"},
                          {"ROLE_NAME", "default"},
                          {"ROLE_RANK", "1"},
                          {"ROLE_WORLD_SIZE", "2"},
                          {"TORCHELASTIC_ERROR_FILE", "/tmp/torchelastic_x/attempt_0/1/error.json"},
                          {"TORCHELASTIC_MAX_RESTARTS", "3"},
                          {"TORCHELASTIC_RESTART_COUNT", "1"},
                          {"TORCHELASTIC_RUN_ID", "5c894dff"},
                          {"TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT"},
                          {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                          {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"},
                          {"WORLD_SIZE", "2"}};

TEST(Torchrun, IsKnownByItsVariables) {
  const auto launch = accepted(kTorchrun);
  EXPECT_EQ(launch.launcher, Launcher::kTorchrun);
  EXPECT_EQ(launch.rank, 1u);
  EXPECT_EQ(launch.world_size, 2u);
  EXPECT_EQ(launch.local_rank, 1u);
  EXPECT_EQ(launch.local_world_size, 2u);
  EXPECT_EQ(launch.restart_count, 1u);
  EXPECT_EQ(launch.job, "5c894dff");
  EXPECT_EQ(launch.interface, "127.0.0.1");
}

TEST(Torchrun, AgentStoreKeepsItsAddressAndNeedsNoToken) {
  const auto launch = accepted(kTorchrun);
  EXPECT_TRUE(launch.agent_store);
  EXPECT_EQ(launch.master_address, "localhost");
  EXPECT_EQ(launch.master_port, 45149);
  EXPECT_EQ(launch.token, "");
  EXPECT_EQ(accepted(with(kTorchrun, {{"TRAINHOST_TOKEN", kToken}})).token, kToken);
}

TEST(Torchrun, WithoutAgentStoreRank0Hosts) {
  const auto without = with(kTorchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "False"}});
  EXPECT_EQ(error_of(without),
            "TRAINHOST_TOKEN is not set: the processes of a run know each other by a secret that nobody else has; in the script that "
            "starts the processes: export TRAINHOST_TOKEN=$(openssl rand -hex 32)");
  const auto launch = accepted(with(without, {{"TRAINHOST_TOKEN", kToken}}));
  EXPECT_FALSE(launch.agent_store);
  EXPECT_EQ(launch.master_address, "127.0.0.1");
}

TEST(Torchrun, OnTwoMachinesBindsTheAddressTowardsTheMaster) {
  const auto launch = accepted(with(kTorchrun, {{"WORLD_SIZE", "4"}, {"RANK", "3"}, {"GROUP_RANK", "1"}, {"MASTER_ADDR", "node1"}}));
  EXPECT_EQ(launch.interface, "10.0.0.5");
  EXPECT_EQ(launch.master_address, "node1");
}

TEST(Torchrun, SaysWhatIsWrong) {
  EXPECT_EQ(error_of(with(kTorchrun, {{"WORLD_SIZE", "-"}})),
            "WORLD_SIZE is not set although GROUP_RANK is: set both, or unset GROUP_RANK to train with one process");
  EXPECT_EQ(error_of(with(kTorchrun, {{"MASTER_ADDR", ""}})),
            "MASTER_ADDR is not set although GROUP_RANK is: set both, or unset GROUP_RANK to train with one process");
  EXPECT_EQ(error_of(with(kTorchrun, {{"MASTER_PORT", "70000"}})), "MASTER_PORT is \"70000\", expected a whole number from 1 to 65535");
  EXPECT_EQ(error_of(with(kTorchrun, {{"WORLD_SIZE", "two"}})), "WORLD_SIZE is \"two\", expected a whole number from 1 to 65536");
  EXPECT_EQ(error_of(with(kTorchrun, {{"RANK", "1.5"}})), "RANK is \"1.5\", expected a whole number from 0 to 65535");
  EXPECT_EQ(error_of(with(kTorchrun, {{"RANK", "-1"}})), "RANK is \"-1\", expected a whole number from 0 to 65535");
  EXPECT_EQ(error_of(with(kTorchrun, {{"RANK", "2"}})), "RANK is 2 and WORLD_SIZE is 2, expected 0 to 1");
  EXPECT_EQ(error_of(with(kTorchrun, {{"LOCAL_RANK", "2"}})), "LOCAL_RANK is 2 and LOCAL_WORLD_SIZE is 2, expected 0 to 1");
  EXPECT_EQ(error_of(with(kTorchrun, {{"LOCAL_WORLD_SIZE", "3"}})),
            "LOCAL_WORLD_SIZE is 3 and WORLD_SIZE is 2, expected no more on one machine than in all");
  EXPECT_EQ(error_of(with(kTorchrun, {{"TORCHELASTIC_RESTART_COUNT", "x"}})),
            "TORCHELASTIC_RESTART_COUNT is \"x\", expected a whole number from 0 to 4294967295");
  EXPECT_EQ(error_of(with(kTorchrun, {{"TRAINHOST_TOKEN", "secret"}})),
            "TRAINHOST_TOKEN has 6 characters, expected at least 32 random ones; in the script that starts the processes: export "
            "TRAINHOST_TOKEN=$(openssl rand -hex 32)");
}

// What srun sets for the third of three tasks on two machines (man srun, OUTPUT ENVIRONMENT VARIABLES).
const Variables kSlurm{{"SLURM_PROCID", "2"},
                       {"SLURM_LOCALID", "0"},
                       {"SLURM_NODEID", "1"},
                       {"SLURM_NTASKS", "3"},
                       {"SLURM_STEP_ID", "0"},
                       {"SLURM_JOB_ID", "81234"},
                       {"SLURM_JOB_NAME", "pretrain"},
                       {"SLURM_JOB_NODELIST", "gpu[07-12]"},
                       {"SLURM_STEP_NODELIST", "gpu[09-10]"},
                       {"SLURM_TASKS_PER_NODE", "1(x6)"},
                       {"SLURM_STEP_TASKS_PER_NODE", "2,1"},
                       {"SLURM_RESTART_COUNT", "1"},
                       {"TRAINHOST_TOKEN", kToken}};

TEST(Slurm, IsKnownByItsVariables) {
  const auto launch = accepted(kSlurm);
  EXPECT_EQ(launch.launcher, Launcher::kSlurm);
  EXPECT_EQ(launch.rank, 2u);
  EXPECT_EQ(launch.world_size, 3u);
  EXPECT_EQ(launch.local_rank, 0u);
  EXPECT_EQ(launch.local_world_size, 1u);
  EXPECT_EQ(launch.master_address, "gpu09");
  EXPECT_EQ(launch.master_port, 16234);
  EXPECT_EQ(launch.interface, "10.0.0.5");
  EXPECT_EQ(launch.restart_count, 1u);
  EXPECT_EQ(launch.job, "81234");
}

TEST(Slurm, TakesTheMasterFromTheEnvironmentWhereItIsSet) {
  const auto launch = accepted(with(kSlurm, {{"MASTER_ADDR", "10.9.9.9"}, {"MASTER_PORT", "29500"}}));
  EXPECT_EQ(launch.master_address, "10.9.9.9");
  EXPECT_EQ(launch.master_port, 29500);
}

TEST(Slurm, KnowsTheJobsMachinesWhereItHasNoListOfTheSteps) {
  const auto launch = accepted(with(kSlurm, {{"SLURM_STEP_NODELIST", "-"}, {"SLURM_JOB_NODELIST", "-"}, {"SLURM_NODELIST", "a[3,5]"}}));
  EXPECT_EQ(launch.master_address, "a3");
}

TEST(Slurm, OnOneMachineStaysOnLoopback) {
  const auto launch = accepted(with(kSlurm, {{"SLURM_STEP_NODELIST", "gpu09"},
                                             {"SLURM_STEP_TASKS_PER_NODE", "-"},
                                             {"SLURM_TASKS_PER_NODE", "-"},
                                             {"SLURM_LOCALID", "2"},
                                             {"SLURM_NODEID", "0"}}));
  EXPECT_EQ(launch.local_world_size, 3u);
  EXPECT_EQ(launch.master_address, "127.0.0.1");
  EXPECT_EQ(launch.interface, "127.0.0.1");
}

TEST(Slurm, ShellsAndBatchScriptsOfOneTaskTrainAlone) {
  for (const char *name : {"bash", "interactive"}) {
    EXPECT_EQ(accepted(with(kSlurm, {{"SLURM_JOB_NAME", name}})).launcher, Launcher::kNone) << name;
  }
  EXPECT_EQ(accepted(with(kSlurm, {{"SLURM_NTASKS", "1"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_ID", "-"}})).launcher, Launcher::kNone);
}

TEST(Slurm, TorchrunInATaskIsTorchrun) {
  auto both = kTorchrun;
  both.insert(kSlurm.begin(), kSlurm.end());
  EXPECT_EQ(accepted(both).launcher, Launcher::kTorchrun);
}

TEST(Slurm, SaysWhatIsWrong) {
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_STEP_ID", "-"}})),
            "SLURM_NTASKS is 3 but srun did not start this process: start trainhost with srun, or ask Slurm for one task (--ntasks=1 "
            "--cpus-per-task=...) and use --processes");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_NTASKS", "-"}})),
            "SLURM_NTASKS is not set although SLURM_PROCID is: set both, or unset SLURM_PROCID to train with one process");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_PROCID", "3"}})), "SLURM_PROCID is 3 and SLURM_NTASKS is 3, expected 0 to 2");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_LOCALID", "1"}})),
            "SLURM_LOCALID is 1 and the number of tasks on this machine is 1, expected 0 to 0");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_NODEID", "2"}})),
            "SLURM_NODEID is 2 and the number of machines in SLURM_STEP_TASKS_PER_NODE is 2, expected 0 to 1");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "2,x"}})),
            "SLURM_STEP_TASKS_PER_NODE: \"2,x\" is not written like \"4(x2),3\"");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "1,4"}})),
            "SLURM_STEP_TASKS_PER_NODE gives this machine 4 tasks and SLURM_NTASKS is 3, expected no more on one machine than in all");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_STEP_TASKS_PER_NODE", "-"}, {"SLURM_TASKS_PER_NODE", "-"}})),
            "SLURM_STEP_TASKS_PER_NODE is not set although SLURM_PROCID is: set both, or unset SLURM_PROCID to train with one process");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_STEP_NODELIST", "gpu[9-7]"}})), "SLURM_STEP_NODELIST: the range \"9-7\" goes down");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_STEP_NODELIST", "-"}, {"SLURM_JOB_NODELIST", "-"}})),
            "SLURM_JOB_NODELIST is not set although SLURM_PROCID is: set both, or unset SLURM_PROCID to train with one process");
  EXPECT_EQ(error_of(with(kSlurm, {{"SLURM_JOB_ID", "-"}})),
            "SLURM_JOB_ID is not set although SLURM_PROCID is: set both, or unset SLURM_PROCID to train with one process");
  EXPECT_EQ(error_of(with(kSlurm, {{"TRAINHOST_TOKEN", "-"}})),
            "TRAINHOST_TOKEN is not set: the processes of a run know each other by a secret that nobody else has; in the script that "
            "starts the processes: export TRAINHOST_TOKEN=$(openssl rand -hex 32)");
}

const Variables kPlain{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}, {"TRAINHOST_TOKEN", kToken}};

TEST(Plain, EachProcessHasItsOwnMachineUnlessToldOtherwise) {
  const auto launch = accepted(kPlain);
  EXPECT_EQ(launch.launcher, Launcher::kPlain);
  EXPECT_EQ(launch.rank, 1u);
  EXPECT_EQ(launch.world_size, 2u);
  EXPECT_EQ(launch.local_rank, 0u);
  EXPECT_EQ(launch.local_world_size, 1u);
  EXPECT_EQ(launch.master_address, "node1");
  EXPECT_EQ(launch.master_port, 29500);
  EXPECT_EQ(launch.interface, "10.0.0.5");
  const auto told = accepted(with(kPlain, {{"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}}));
  EXPECT_EQ(told.local_rank, 1u);
  EXPECT_EQ(told.local_world_size, 2u);
  EXPECT_EQ(told.interface, "127.0.0.1");
  EXPECT_EQ(told.master_address, "127.0.0.1");
}

TEST(Plain, WithAMasterOnLoopbackAllAreOnOneMachine) {
  for (const char *address : {"localhost", "127.0.0.1", "::1"}) {
    const auto launch = accepted(with(kPlain, {{"MASTER_ADDR", address}}));
    EXPECT_EQ(launch.local_rank, 1u) << address;
    EXPECT_EQ(launch.local_world_size, 2u) << address;
    EXPECT_EQ(launch.interface, "127.0.0.1") << address;
    EXPECT_EQ(launch.master_address, "127.0.0.1") << address;
  }
}

TEST(Plain, OneProcessNeedsNothingElse) {
  const auto launch = accepted({{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  EXPECT_EQ(launch.world_size, 1u);
  EXPECT_EQ(launch.interface, "127.0.0.1");
}

TEST(Plain, SaysWhatIsWrong) {
  EXPECT_EQ(error_of({{"RANK", "0"}}), "WORLD_SIZE is not set although RANK is: set both, or unset RANK to train with one process");
  EXPECT_EQ(error_of({{"WORLD_SIZE", "2"}}),
            "RANK is not set although WORLD_SIZE is: set both, or unset WORLD_SIZE to train with one process");
  EXPECT_EQ(error_of(with(kPlain, {{"WORLD_SIZE", "0"}})), "WORLD_SIZE is \"0\", expected a whole number from 1 to 65536");
  EXPECT_EQ(error_of(with(kPlain, {{"MASTER_PORT", "-"}})),
            "MASTER_PORT is not set although RANK is: set both, or unset RANK to train with one process");
  EXPECT_EQ(error_of(with(kPlain, {{"LOCAL_RANK", "1"}})),
            "LOCAL_WORLD_SIZE is not set although RANK is: set both, or unset RANK to train with one process");
  EXPECT_EQ(error_of(with(kPlain, {{"TRAINHOST_TOKEN", "-"}})),
            "TRAINHOST_TOKEN is not set: the processes of a run know each other by a secret that nobody else has; in the script that "
            "starts the processes: export TRAINHOST_TOKEN=$(openssl rand -hex 32)");
}

TEST(Interface, IsTheWantedOne) {
  EXPECT_EQ(accepted(with(kPlain, {{"TRAINHOST_INTERFACE", "ib0"}})).interface, "10.1.0.5");
  EXPECT_EQ(accepted(with(kPlain, {{"TRAINHOST_INTERFACE", "10.1.0.5"}})).interface, "10.1.0.5");
  const auto local = accepted(with(kPlain, {{"MASTER_ADDR", "localhost"}, {"TRAINHOST_INTERFACE", "eth0"}}));
  EXPECT_EQ(local.interface, "10.0.0.5");
  EXPECT_EQ(local.master_address, "10.0.0.5") << "rank 0 is reached where it listens";
  for (const char *wanted : {"eth7", "0.0.0.0"}) {
    EXPECT_EQ(error_of(with(kPlain, {{"TRAINHOST_INTERFACE", wanted}})),
              std::string("TRAINHOST_INTERFACE is \"") + wanted +
                  "\", which is no network interface or address of this machine; it has lo (127.0.0.1), eth0 (10.0.0.5), ib0 (10.1.0.5)");
  }
}

TEST(Interface, IsNotOneThatOtherMachinesCannotReach) {
  EXPECT_EQ(error_of(with(kPlain, {{"MASTER_ADDR", "myself"}})),
            "the master \"myself\" is 127.0.1.1 on this machine, where the other machines cannot reach it (see /etc/hosts): set "
            "TRAINHOST_INTERFACE to the network interface or address by which the machines of the run reach each other");
}

TEST(Interface, NeedsAMasterThatIsKnown) {
  const auto launch = detect(with(kPlain, {{"MASTER_ADDR", "nowhere"}}));
  ASSERT_FALSE(launch);
  EXPECT_EQ(launch.error().kind, ErrorKind::kUnavailable);
}

TEST(NetworkOfThisMachine, KnowsLoopbackAndRefusesUnknownHosts) {
  const Network network = network_of_this_machine();
  bool has_loopback = false;
  for (const auto &each : network.addresses()) has_loopback |= each.address == "127.0.0.1";
  EXPECT_TRUE(has_loopback);
  EXPECT_EQ(network.address_towards("127.0.0.1").value_or("none"), "127.0.0.1");
  const auto unknown = network.address_towards("no-such-host.invalid");  // RFC 6761: never a host
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, ErrorKind::kUnavailable);
  EXPECT_TRUE(unknown.error().message.starts_with("\"no-such-host.invalid\" is not a host that this machine knows: "))
      << unknown.error().message;
}

}  // namespace
}  // namespace trainhost
