// Messages to the user. One process-wide channel, so that a console with a progress line can let messages pass above it.
#pragma once

#include <functional>
#include <string_view>

namespace trainhost {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Writes one message; debug messages only when TRAINHOST_LOG=debug is set. Any thread.
void log(LogLevel level, std::string_view message);
inline void log_debug(std::string_view message) { log(LogLevel::kDebug, message); }
inline void log_info(std::string_view message) { log(LogLevel::kInfo, message); }
inline void log_warning(std::string_view message) { log(LogLevel::kWarning, message); }
inline void log_error(std::string_view message) { log(LogLevel::kError, message); }

// Messages below this level are not written. Any thread.
void set_log_level(LogLevel least);

// Called before and after a message is written, under the channel's lock: a console clears its progress line in `before` and draws
// it again in `after`. Empty functions take the hook away. Any thread.
void set_log_hooks(std::function<void()> before, std::function<void()> after);

}  // namespace trainhost
