// Which call of which plugin a thread is in: what is said when the call crashes or never returns.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "plugin_host/manifest.h"

namespace trainhost {

// Around every call into a plugin; calls nest. An exception that leaves the call ends the process like a crash. Any thread, and cheap
// enough for every call.
class PluginCall {
 public:
  static constexpr int32_t kNoUnit = -1;
  static constexpr uint64_t kNoStep = UINT64_MAX;

  // What a thread is doing, for others that work for it.
  struct Place {
    const Manifest *manifest = nullptr;  // null: in no call
    const char *name = nullptr;
    int32_t unit = kNoUnit;
    uint64_t step = kNoStep;
  };

  // The manifest and the name, a slot's, outlive it. unit: of a model.
  PluginCall(const Manifest &manifest, const char *name, int32_t unit = kNoUnit);
  // On a thread that does a piece of another one's call.
  explicit PluginCall(const Place &place);
  PluginCall(const PluginCall &) = delete;
  PluginCall &operator=(const PluginCall &) = delete;
  ~PluginCall();

  // The plugin logged, showed progress or asked whether it is cancelled: the call of this thread is at work.
  static void show_life();
  // Of the calling thread.
  static Place place();

 private:
  Place outer_;     // the call that this one is made in goes on when this returns
  int exceptions_;  // under way when it began
};

// While it lives, messages about the calling thread's calls name this step: the one being trained, or the one whose batch is being made.
class PluginStep {
 public:
  explicit PluginStep(uint64_t step);
  PluginStep(const PluginStep &) = delete;
  PluginStep &operator=(const PluginStep &) = delete;
  ~PluginStep();

  // ", step 12", or nothing when the calling thread is at no step.
  static std::string text();
};

// From now on a crash, abort, exit or uncaught exception inside a plugin's call ends the process with exit code 70 after one line that
// names signal, plugin, version, file, call, unit and step. Elsewhere, and when another process sent the signal, it does what it did
// before. Called once.
void blame_plugins_for_crashes();

// While it lives, a call that neither returns nor shows life for so long is reported once, on a thread of its own. Time for which the whole
// process was stopped, if longer than half of that, does not count.
class PluginDeadline {
 public:
  // report gets a kPlugin error that names the call; it ends the process, since the call cannot be ended.
  PluginDeadline(std::chrono::duration<double> limit, std::function<void(const Error &)> report);
  PluginDeadline(const PluginDeadline &) = delete;
  PluginDeadline &operator=(const PluginDeadline &) = delete;
  ~PluginDeadline();

 private:
  struct Watch;
  std::unique_ptr<Watch> watch_;
};

}  // namespace trainhost
