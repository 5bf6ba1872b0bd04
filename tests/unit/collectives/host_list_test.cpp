#include "collectives/host_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trainhost {
namespace {

using ::testing::ElementsAre;

std::string error_of(const std::string &text) {
  const auto hosts = expand_host_list(text);
  return hosts ? "accepted" : hosts.error().message;
}

// What `scontrol show hostnames` of Slurm 22.05.8 prints for the same texts.
TEST(HostList, IsExpandedAsScontrolDoes) {
  EXPECT_THAT(*expand_host_list("node"), ElementsAre("node"));
  EXPECT_THAT(*expand_host_list("node[08-11]"), ElementsAre("node08", "node09", "node10", "node11"));
  EXPECT_THAT(*expand_host_list("host[5-9,12]"), ElementsAre("host5", "host6", "host7", "host8", "host9", "host12"));
  EXPECT_THAT(*expand_host_list("rack[0-1]node[1-2]"), ElementsAre("rack0node1", "rack0node2", "rack1node1", "rack1node2"));
  EXPECT_THAT(*expand_host_list("h[1-2]-[01-02]"), ElementsAre("h1-01", "h1-02", "h2-01", "h2-02"));
  EXPECT_THAT(*expand_host_list("n[098-101]"), ElementsAre("n098", "n099", "n100", "n101"));
  EXPECT_THAT(*expand_host_list("a[9-10]"), ElementsAre("a9", "a10"));
  EXPECT_THAT(*expand_host_list("a,b[1,03],c7"), ElementsAre("a", "b1", "b03", "c7"));
  EXPECT_THAT(*expand_host_list("node7,node5"), ElementsAre("node7", "node5"));
  EXPECT_THAT(*expand_host_list("a,,b"), ElementsAre("a", "b"));
  const auto wide = expand_host_list("a[09-100]");
  ASSERT_EQ(wide->size(), 92u);
  EXPECT_EQ(wide->front(), "a09");
  EXPECT_EQ(wide->back(), "a100");
}

TEST(HostList, SaysWhatIsWrong) {
  EXPECT_EQ(error_of(""), "\"\" names no host");
  EXPECT_EQ(error_of("n[1"), "\"n[1\" has brackets that do not match");
  EXPECT_EQ(error_of("n1]"), "\"n1]\" has brackets that do not match");
  EXPECT_EQ(error_of("n[[1-2]]"), "\"n[[1-2]]\" has brackets that do not match");
  EXPECT_EQ(error_of("n[1-2]]"), "\"n[1-2]]\" has brackets that do not match");
  EXPECT_EQ(error_of("n[]"), "\"\" is no number and no range of numbers");
  EXPECT_EQ(error_of("n[a-b]"), "\"a-b\" is no number and no range of numbers");
  EXPECT_EQ(error_of("n[1-]"), "\"1-\" is no number and no range of numbers");
  EXPECT_EQ(error_of("n[1-2-3]"), "\"1-2-3\" is no number and no range of numbers");
  EXPECT_EQ(error_of("n[5-3]"), "the range \"5-3\" goes down");
  EXPECT_EQ(error_of("n[0-4294967295]"), "the range \"0-4294967295\" has more than 65536 hosts");
  EXPECT_EQ(error_of("n[0-999][0-999]"), "\"[0-999]\" makes more than 65536 hosts");
  EXPECT_EQ(error_of("n[0-65535],m"), "\"n[0-65535],m\" names more than 65536 hosts");
}

// The man page of sbatch: SLURM_TASKS_PER_NODE=2(x3),1 is 2, 2, 2 and 1.
TEST(TasksPerNode, IsExpandedAsTheManPageOfSbatchSays) {
  EXPECT_THAT(*expand_tasks_per_node("2(x3),1"), ElementsAre(2, 2, 2, 1));
  EXPECT_THAT(*expand_tasks_per_node("8"), ElementsAre(8));
  EXPECT_THAT(*expand_tasks_per_node("4,4(x2)"), ElementsAre(4, 4, 4));
}

TEST(TasksPerNode, SaysWhatIsWrong) {
  for (const std::string text : {"", "x", "2(x", "2(x3", "2(x)", "2(3)", "2,", "2(x99999999)", "(x2)"}) {
    const auto tasks = expand_tasks_per_node(text);
    ASSERT_FALSE(tasks) << text;
    EXPECT_THAT(tasks.error().message, ::testing::EndsWith("is not written like \"4(x2),3\"")) << text;
  }
}

}  // namespace
}  // namespace trainhost
