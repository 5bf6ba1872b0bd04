// Training steps of minicpm and adamw without the rest of the host: one JSON line, as other trainers' benchmarks print.
//
//   minicpm_step_bench SIZE [STEPS]      SIZE 9m or 36m of MiniCPM's ladder, 16 sequences of 256 tokens, vocabulary 8192
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <sys/resource.h>

#include "plugin_host/adapters/optimizer.h"
#include "support/model_runner.h"
#include "tensor/tensor_view.h"

namespace trainhost {
namespace {

constexpr int32_t kVocabulary = 8192, kSequences = 16, kLength = 256;

std::map<std::string, ParameterValue> shape_of(const std::string &size) {
  if (size == "9m") return {{"layers", int64_t{8}}, {"width", int64_t{320}}, {"heads", int64_t{5}}, {"feed_forward", int64_t{800}}};
  return {{"layers", int64_t{12}}, {"width", int64_t{512}}, {"heads", int64_t{8}}, {"feed_forward", int64_t{1280}}};
}

struct AdamW {
  explicit AdamW(ModelRunner &runner) : runner(runner) {
    for (size_t i = 0; i < runner.parameter_count(); ++i) {
      for (int s = 0; s < 2; ++s) {
        states.emplace_back(runner.parameter(i).size());
        std::ranges::fill(states.back().items(), 0.0f);
      }
    }
  }
  void update(uint64_t step) {
    std::vector<TensorView> views;
    std::vector<th_tensor> state_views;
    std::vector<th_update> updates;
    views.reserve(4 * runner.parameter_count());
    state_views.reserve(2 * runner.parameter_count());
    for (size_t i = 0; i < runner.parameter_count(); ++i) {
      const th_parameter_info &info = runner.model().parameters()[i];
      const auto view = [&](float *data) {
        return views.emplace_back(data, std::initializer_list<int64_t>{static_cast<int64_t>(runner.parameter(i).size())}).view();
      };
      for (size_t s = 2 * i; s < 2 * i + 2; ++s) state_views.push_back(view(states[s].data()));
      updates.push_back({&info,
                         view(runner.parameter(i).data()),
                         view(runner.gradient(i).data()),
                         {},
                         state_views.data() + 2 * i,
                         0.01 * info.lr_scale,
                         static_cast<double>(info.weight_decay)});
    }
    const float clip = 1;
    const th_update_call call{sizeof(th_update_call), 0, step, &clip, std::nan(""), nullptr};
    if (!optimizer->update(call, updates)) std::abort();
  }
  ModelRunner &runner;
  std::unique_ptr<Optimizer> optimizer = *Optimizer::create(plugin_under_test(PluginKind::kOptimizer, "adamw"));
  std::vector<Buffer<float>> states;
};

int run(const std::string &size, int steps) {
  using Clock = std::chrono::steady_clock;
  ModelRunner runner("minicpm", shape_of(size), {kVocabulary, kLength, kSequences * kLength});
  AdamW adamw(runner);
  const std::vector<std::vector<int32_t>> lengths(kSequences, {kLength});
  std::vector<double> seconds, processor_seconds;
  float loss = 0;
  for (int step = 0; step < steps + 1; ++step) {
    TokenBatch batch = random_documents(lengths, kVocabulary, static_cast<uint64_t>(step));
    const auto started = Clock::now();
    const std::clock_t used = std::clock();
    loss = runner.train(batch, 1.0 / (kSequences * kLength));
    adamw.update(static_cast<uint64_t>(step));
    if (step == 0) continue;
    seconds.push_back(std::chrono::duration<double>(Clock::now() - started).count());
    processor_seconds.push_back(static_cast<double>(std::clock() - used) / CLOCKS_PER_SEC);
  }
  std::ranges::sort(seconds);
  std::ranges::sort(processor_seconds);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double median = seconds[seconds.size() / 2], tokens = kSequences * kLength;
  std::printf(
      "{\"trainer\": \"trainhost-minicpm\", \"size\": \"%s\", \"seconds_per_step\": %.4f, \"fastest_step\": %.4f, "
      "\"processor_seconds\": %.4f, \"tokens_per_second\": %.1f, \"peak_rss_mib\": %ld, \"last_loss\": %.4f}\n",
      size.c_str(), median, seconds[0], processor_seconds[processor_seconds.size() / 2], tokens / median, usage.ru_maxrss / 1024,
      static_cast<double>(loss));
  return 0;
}

}  // namespace
}  // namespace trainhost

int main(int count, char **arguments) { return trainhost::run(count > 1 ? arguments[1] : "9m", count > 2 ? std::atoi(arguments[2]) : 8); }
