#include "data/batch.h"

#include <numeric>

namespace trainhost {

double TokenBatch::weight() const { return std::accumulate(loss_weights.begin(), loss_weights.end(), 0.0); }

double StepBatch::weight() const {
  return std::accumulate(micro_batches.begin(), micro_batches.end(), 0.0,
                         [](double sum, const TokenBatch &batch) { return sum + batch.weight(); });
}

}  // namespace trainhost
