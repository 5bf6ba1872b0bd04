#include "plugin_host/plugin_call.h"

#include <array>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

namespace trainhost {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostThreads = 1024;  // in calls at once; calls of more are not watched

int64_t now() { return Clock::now().time_since_epoch().count(); }

// What one thread is doing. Written by it; read by the deadline's thread and by signal handlers.
struct CallSlot {
  std::atomic<bool> taken = false;
  std::atomic<const Manifest *> manifest = nullptr;
  std::atomic<const char *> name = nullptr;
  std::atomic<int32_t> unit = PluginCall::kNoUnit;
  std::atomic<uint64_t> step = PluginCall::kNoStep;
  std::atomic<int64_t> life = 0;  // when it began or last called the host
};

std::array<CallSlot, kMostThreads> slots;

// Where the handlers of signals run on this thread, since a plugin may have used up its stack. One that is there already is kept: a
// sanitizer's.
class SignalStack {
 public:
  SignalStack() {
    stack_t there{};
    if (::sigaltstack(nullptr, &there) != 0 || (there.ss_flags & SS_DISABLE) == 0) return;
    memory_ = std::make_unique<std::byte[]>(kBytes);
    const stack_t own{.ss_sp = memory_.get(), .ss_flags = 0, .ss_size = kBytes};
    ::sigaltstack(&own, nullptr);
  }
  SignalStack(const SignalStack &) = delete;
  SignalStack &operator=(const SignalStack &) = delete;
  ~SignalStack() {
    const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    if (memory_) ::sigaltstack(&none, nullptr);
  }

 private:
  static constexpr size_t kBytes = 64 << 10;  // registers of the widest processors take up to 11 KiB of it
  std::unique_ptr<std::byte[]> memory_;
};

void blame(std::string_view happening);

// A slot for as long as the thread lives. exit() ends the calling thread's objects before all others, so a call of it inside a plugin is
// seen here, while the other threads still have what they work with.
struct ThreadSlot {
  ThreadSlot() {
    for (CallSlot &candidate : slots) {
      if (candidate.taken.exchange(true)) continue;
      slot = &candidate;
      slot->step = PluginCall::kNoStep;
      return;
    }
  }
  ~ThreadSlot() {
    blame("exit");
    if (slot != nullptr) slot->taken = false;
  }
  CallSlot *slot = nullptr;
  SignalStack signal_stack;
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

void set(CallSlot &slot, const PluginCall::Place &place) {
  slot.manifest = nullptr;  // between two calls nothing mixed is read
  slot.name = place.name;
  slot.unit = place.unit;
  slot.step = place.step;
  slot.life = now();
  slot.manifest = place.manifest;
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
  if (const uint64_t step = slot.step; step != PluginCall::kNoStep) line << ", step " << step;
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

std::atomic<bool> blames = false;  // since blame_plugins_for_crashes()
std::atomic<pid_t> blaming = 0;    // the thread whose plugin ends the process

// Of several threads in trouble the first one has the word.
void wait_while_another_blames() {
  for (pid_t other = blaming; other != 0 && other != ::gettid(); other = blaming) ::pause();
}

// Does not return when this thread is in a plugin's call, unless it was in here before.
void blame(std::string_view happening) {
  const CallSlot *const slot = own_slot;
  const Manifest *const manifest = slot != nullptr ? slot->manifest.load() : nullptr;
  if (!blames || manifest == nullptr) return;
  if (pid_t nobody = 0; !blaming.compare_exchange_strong(nobody, ::gettid())) return wait_while_another_blames();
  Line line;
  line << "error: " << happening << " in " << to_string(manifest->kind) << " plugin \"" << manifest->name << "\" " << manifest->version
       << " (" << manifest->path << ")";
  append_place(line, *slot);
  line << "\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.view().data(), line.view().size());
  ::_exit(exit_code(ErrorKind::kPlugin));
}

std::terminate_handler earlier_terminate = nullptr;

// An exception that no frame up to the plugin's caller, the host, catches, or that meets a noexcept.
void on_terminate() {
  std::string text = "an uncaught exception";
  try {
    if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::exception &exception) {
    text += fmt::format(" ({})", exception.what());
  } catch (...) {  // of a type that has no text
  }
  blame(text);
  earlier_terminate();
}

void on_crash(int signal, siginfo_t *info, void *) {
  wait_while_another_blames();
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

// The whole process was stopped, as by a shell's Ctrl-Z: no call is to blame for that time.
void begin_anew() {
  for (CallSlot &slot : slots) slot.life = now();
}

}  // namespace

PluginCall::PluginCall(const Manifest &manifest, const char *name, int32_t unit)
    : PluginCall(Place{.manifest = &manifest, .name = name, .unit = unit, .step = place().step}) {}

PluginCall::PluginCall(const Place &place) : outer_(PluginCall::place()), exceptions_(std::uncaught_exceptions()) {
  if (CallSlot *const slot = slot_of_this_thread(); slot != nullptr) set(*slot, place);
}

PluginCall::~PluginCall() {
  if (std::uncaught_exceptions() > exceptions_) blame("an uncaught exception");
  if (own_slot != nullptr) set(*own_slot, outer_);
}

void PluginCall::show_life() {
  if (own_slot != nullptr) own_slot->life = now();
}

PluginCall::Place PluginCall::place() {
  const CallSlot *const slot = own_slot;
  if (slot == nullptr) return {};
  return {.manifest = slot->manifest, .name = slot->name, .unit = slot->unit, .step = slot->step};
}

PluginStep::PluginStep(uint64_t step) {
  if (CallSlot *const slot = slot_of_this_thread(); slot != nullptr) slot->step = step;
}

PluginStep::~PluginStep() {
  if (own_slot != nullptr) own_slot->step = PluginCall::kNoStep;
}

std::string PluginStep::text() {
  const uint64_t step = PluginCall::place().step;
  return step == PluginCall::kNoStep ? std::string() : fmt::format(", step {}", step);
}

void blame_plugins_for_crashes() {
  struct sigaction action {};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  blames = true;
  std::at_quick_exit([] { blame("exit"); });
  earlier_terminate = std::set_terminate(on_terminate);
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
    for (auto woke = Clock::now(); !watch.changed.wait_for(lock, pause, [&] { return watch.ends; }); woke = Clock::now()) {
      if (Clock::now() - woke > limit / 2) begin_anew();
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
