#include "plugin_host/plugin_call.h"

#include <array>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

namespace trainhost {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kNoStep = UINT64_MAX;
constexpr size_t kMostThreads = 1024;  // in calls at once; calls of more are not watched

int64_t now() { return Clock::now().time_since_epoch().count(); }

// What one thread is doing. Written by it; read by the deadline's thread and by signal handlers.
struct CallSlot {
  std::atomic<bool> taken = false;
  std::atomic<const Manifest *> manifest = nullptr;
  std::atomic<const char *> name = nullptr;
  std::atomic<int32_t> unit = PluginCall::kNoUnit;
  std::atomic<int64_t> life = 0;  // when it began or last called the host
};

std::array<CallSlot, kMostThreads> slots;
std::atomic<uint64_t> current_step = kNoStep;

// A slot for as long as the thread lives.
struct ThreadSlot {
  ThreadSlot() {
    for (CallSlot &candidate : slots) {
      if (candidate.taken.exchange(true)) continue;
      slot = &candidate;
      return;
    }
  }
  ~ThreadSlot() {
    if (slot != nullptr) slot->taken = false;
  }
  CallSlot *slot = nullptr;
};

// Plain data, so that a signal handler may read it.
thread_local CallSlot *own_slot = nullptr;

CallSlot *slot_of_this_thread() {
  if (own_slot == nullptr) {
    thread_local const ThreadSlot held;
    own_slot = held.slot;
  }
  return own_slot;
}

void set(CallSlot &slot, const Manifest *manifest, const char *name, int32_t unit, int64_t life) {
  slot.manifest = nullptr;  // between two calls nothing mixed is read
  slot.name = name;
  slot.unit = unit;
  slot.life = life;
  slot.manifest = manifest;
}

// Text of bounded length, made without memory of the heap: for signal handlers.
class Line {
 public:
  Line &operator<<(std::string_view text) {
    const size_t length = std::min(text.size(), sizeof text_ - length_);
    std::memcpy(text_ + length_, text.data(), length);
    length_ += length;
    return *this;
  }
  Line &operator<<(uint64_t number) {
    char digits[20];
    return *this << std::string_view(digits, static_cast<size_t>(std::to_chars(digits, digits + sizeof digits, number).ptr - digits));
  }
  std::string_view view() const { return {text_, length_}; }

 private:
  char text_[1024];
  size_t length_ = 0;
};

// ": forward of unit 3, step 12"
void append_place(Line &line, const CallSlot &slot) {
  line << ": " << slot.name.load();
  if (const int32_t unit = slot.unit; unit != PluginCall::kNoUnit) line << " of unit " << static_cast<uint64_t>(unit);
  if (const uint64_t step = current_step; step != kNoStep) line << ", step " << step;
}

std::string_view name_of(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    default:
      return "SIGABRT";
  }
}

std::array<struct sigaction, NSIG> earlier_actions;

bool sent_by_another_process(const siginfo_t &info) { return info.si_code <= 0 && info.si_pid != ::getpid(); }

// Does not return when this thread is in a plugin's call.
void blame(std::string_view happening) {
  const CallSlot *const slot = own_slot;
  const Manifest *const manifest = slot != nullptr ? slot->manifest.load() : nullptr;
  if (manifest == nullptr) return;
  Line line;
  line << "error: " << happening << " in " << to_string(manifest->kind) << " plugin \"" << manifest->name << "\" " << manifest->version
       << " (" << manifest->path << ")";
  append_place(line, *slot);
  line << "\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.view().data(), line.view().size());
  ::_exit(exit_code(ErrorKind::kPlugin));
}

void on_exit() { blame("exit"); }

void on_crash(int signal, siginfo_t *info, void *) {
  if (!sent_by_another_process(*info)) blame(name_of(signal));
  ::sigaction(signal, &earlier_actions[static_cast<size_t>(signal)], nullptr);
  ::raise(signal);
}

// The call that has shown no life for longer than the limit.
std::optional<Error> overdue(std::chrono::duration<double> limit) {
  for (const CallSlot &slot : slots) {
    const Manifest *const manifest = slot.manifest;
    if (manifest == nullptr) continue;
    const std::chrono::duration<double> silent = Clock::duration(now() - slot.life);
    if (silent <= limit) continue;
    Line place;
    append_place(place, slot);
    return Error{
        ErrorKind::kPlugin,
        fmt::format("{}{}: has not returned, and neither logged, shown progress nor asked whether to stop, for {:.0f} s (parallel.timeout)",
                    describe(*manifest), place.view(), limit.count())};
  }
  return std::nullopt;
}

}  // namespace

PluginCall::PluginCall(const Manifest &manifest, const char *name, int32_t unit) {
  CallSlot *const slot = slot_of_this_thread();
  if (slot == nullptr) return;
  outer_manifest_ = slot->manifest;
  outer_name_ = slot->name;
  outer_unit_ = slot->unit;
  set(*slot, &manifest, name, unit, now());
}

PluginCall::~PluginCall() {
  if (own_slot != nullptr) set(*own_slot, outer_manifest_, outer_name_, outer_unit_, now());
}

void PluginCall::show_life() {
  if (own_slot != nullptr) own_slot->life = now();
}

void PluginCall::set_step(uint64_t step) { current_step = step; }

void blame_plugins_for_crashes() {
  struct sigaction action {};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  std::atexit(on_exit);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    ::sigaction(signal, &action, &earlier_actions[static_cast<size_t>(signal)]);
}

struct PluginDeadline::Watch {
  std::mutex mutex;
  std::condition_variable changed;
  bool ends = false;
  std::thread thread;
};

PluginDeadline::PluginDeadline(std::chrono::duration<double> limit, std::function<void(const Error &)> report)
    : watch_(std::make_unique<Watch>()) {
  watch_->thread = std::thread([&watch = *watch_, limit, report = std::move(report)] {
    std::unique_lock lock(watch.mutex);
    const auto pause = std::min<std::chrono::duration<double>>(limit / 4, std::chrono::seconds(1));
    while (!watch.changed.wait_for(lock, pause, [&] { return watch.ends; })) {
      if (const auto error = overdue(limit)) return report(*error);
    }
  });
}

PluginDeadline::~PluginDeadline() {
  {
    const std::lock_guard lock(watch_->mutex);
    watch_->ends = true;
  }
  watch_->changed.notify_all();
  watch_->thread.join();
}

}  // namespace trainhost
