// What `trainhost compare --until` tells: how many steps and tokens each way took to reach a loss, and the critical batch.
#pragma once

#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "app/compared_run.h"
#include "base/status.h"
#include "evaluate/critical_batch.h"

namespace trainhost {

struct LossTarget {
  std::string source;
  double loss = 0;  // held out, in nats per byte

  // "SOURCE=LOSS", else kUsage, which names the option.
  static Result<LossTarget> parse(std::string_view option, const std::string &text);
};

struct BatchTrade {
  struct Row {
    std::string name;                    // of a contestant
    std::optional<ReachedLoss> reached;  // the mean over the seeds; nullopt when one of them did not reach it
  };
  LossTarget target;
  std::vector<Row> rows;
  std::optional<CriticalBatch> critical;  // of the rows that reached it
};

// Of runs that are finished.
BatchTrade trade_of_batches(std::span<const ComparedRun> runs, const LossTarget &target);
void print(const BatchTrade &trade, std::ostream &out);
nlohmann::ordered_json to_json(const BatchTrade &trade);

}  // namespace trainhost
