// One rank as the launcher sees it: a child process and what it writes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/status.h"

namespace trainhost {

// A file descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor &&other) noexcept;
  Descriptor &operator=(Descriptor &&other) noexcept;
  ~Descriptor();
  int number() const { return number_; }
  bool open() const { return number_ >= 0; }

 private:
  int number_;
};

struct RankStart {
  uint32_t rank = 0;
  std::vector<std::string> command, environment;
  int listener = -1;     // given to the rank; -1: none
  std::string log_file;  // gets what the rank writes; empty: as `own_output` says
  bool own_output =
      true;  // the rank writes to the launcher's output; otherwise its lines are passed on to stderr with the rank before them
};

class RankProcess {
 public:
  // The process is the leader of its own process group, so that a terminal's signals reach it through the launcher only, and is killed by
  // the kernel when the launcher ends. kUsage: the log file cannot be opened; kUnavailable: no process can be made.
  static Result<RankProcess> start(const RankStart &settings);

  uint32_t rank() const { return rank_; }
  pid_t id() const { return id_; }
  bool running() const { return running_; }
  int status() const { return status_; }           // of waitpid, once it has ended
  int output() const { return output_.number(); }  // to wait for with poll; -1: nothing comes

  void signal(int number) const;  // to the process
  void kill() const;              // with all processes that it has started
  bool reap();                    // takes its end in; true when it has just ended
  void pass_on_output();          // writes the full lines that have come

  // "rank 2 (process 4711) was killed by signal 9 (Killed)"
  std::string describe_end() const;

 private:
  void write_lines();
  RankProcess(uint32_t rank, pid_t id, Descriptor output) : rank_(rank), id_(id), output_(std::move(output)) {}

  uint32_t rank_;
  pid_t id_;
  bool running_ = true;
  int status_ = 0;
  Descriptor output_;
  std::string line_;  // its last line as far as it has come
};

}  // namespace trainhost
