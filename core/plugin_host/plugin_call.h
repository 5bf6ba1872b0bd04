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

// Around every call into a plugin; calls nest. Any thread, and cheap enough for every call.
class PluginCall {
 public:
  static constexpr int32_t kNoUnit = -1;

  // The manifest and the name, a slot's, outlive it. unit: of a model.
  PluginCall(const Manifest &manifest, const char *name, int32_t unit = kNoUnit);
  PluginCall(const PluginCall &) = delete;
  PluginCall &operator=(const PluginCall &) = delete;
  ~PluginCall();

  // The plugin logged, showed progress or asked whether it is cancelled: the call of this thread is at work.
  static void show_life();
  // The step that is being trained, for the messages.
  static void set_step(uint64_t step);

 private:
  // The call that this one is made in: an outer one goes on when this returns.
  const Manifest *outer_manifest_ = nullptr;
  const char *outer_name_ = nullptr;
  int32_t outer_unit_ = kNoUnit;
};

// From now on a crash, abort or exit inside a plugin's call ends the process with exit code 70 after one line that names signal, plugin,
// version, file, call, unit and step. Elsewhere, and when another process sent the signal, it does what it did before. Called once.
void blame_plugins_for_crashes();

// While it lives, a call that neither returns nor shows life for so long is reported once, on a thread of its own.
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
