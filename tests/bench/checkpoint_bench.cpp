// How fast a checkpoint is saved, verified and loaded, beside the bare hashing and writing of as many bytes, and how much memory a save
// takes beyond the tensors. Usage: checkpoint_bench FOLDER [MEGABYTES]; the folder decides which disk is measured.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>

#include <sys/resource.h>

#include "base/hash.h"
#include "base/random.h"
#include "checkpoint/checkpoint.h"

using namespace trainhost;

namespace {

// Of all threads of the process.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Runs something, prints its time and rate, and ends the program if it failed. The processor's time tells what it costs on a busy machine.
template <class Action>
void measure(const char *name, uint64_t bytes, Action action) {
  const auto start = std::chrono::steady_clock::now();
  const double processor = processor_seconds();
  const auto result = action();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!result) {
    std::fprintf(stderr, "%s: %s\n", name, result.error().message.c_str());
    std::exit(exit_code(result.error().kind));
  }
  std::printf("%-28s %6.2f s  %7.0f MB/s  %6.2f s of processor\n", name, seconds, static_cast<double>(bytes) / 1e6 / seconds,
              processor_seconds() - processor);
}

Result<> write_bare(const std::string &path, std::string_view bytes) {
  TRAINHOST_TRY(const auto file, posix_file_system().create(path));
  TRAINHOST_CHECK(file->append(bytes));
  return file->sync();
}

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

int main(int count, char **arguments) {
  if (count < 2) return std::fprintf(stderr, "usage: checkpoint_bench FOLDER [MEGABYTES]\n"), 64;
  const std::string folder = std::string(arguments[1]) + "/checkpoint_bench";
  const uint64_t megabytes = count > 2 ? std::strtoull(arguments[2], nullptr, 10) : 500;
  constexpr size_t kTensors = 64;
  const size_t size = megabytes * 1000000 / sizeof(float) / kTensors;
  const uint64_t bytes = size * kTensors * sizeof(float);

  std::vector<float> values(size * kTensors);
  fill_uniform(1, 2, 0, values);
  CheckpointContents contents;
  for (size_t i = 0; i < kTensors; ++i) {
    contents.tensors.push_back({.name = (i % 3 == 0 ? "model." : "optimizer.") + std::to_string(i),
                                .shape = {static_cast<int64_t>(size)},
                                .values = std::span(values).subspan(i * size, size)});
  }
  const std::string_view raw(reinterpret_cast<const char *>(values.data()), bytes);
  std::filesystem::create_directories(folder);
  measure("bare SHA-256", bytes, [&] { return Result<std::string>(sha256(raw)); });
  measure("bare write and fsync", bytes, [&] { return write_bare(folder + "/bare", raw); });
  std::filesystem::remove(folder + "/bare");

  const auto group = single_process();
  const long before = peak_kilobytes();
  auto directory = CheckpointDirectory::open(posix_file_system(), folder, *group);
  for (const uint64_t step : {1, 2, 3}) {
    values[0] = static_cast<float>(step);
    contents.step = step;
    measure("save", bytes, [&] { return directory->save(contents); });
  }
  std::printf("%-28s %6ld kB\n", "memory beyond the tensors", peak_kilobytes() - before);
  measure("verify", bytes, [&] { return directory->verify(folder + "/step-000000003"); });
  measure("load", bytes, [&] { return directory->load_newest(contents.tensors, {}); });
  std::filesystem::remove_all(folder);
}
