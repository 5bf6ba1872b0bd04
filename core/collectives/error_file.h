// How a launcher learns why a rank failed.
#pragma once

#include "base/status.h"

namespace trainhost {

// Writes the error to the file that the launcher names, if it names one: torchrun in $TORCHELASTIC_ERROR_FILE, as the JSON that it reads
// and shows as the root cause of the failure of all ranks. What cannot be written is only logged. A stop (kStopped) is written too: to
// torchrun every exit code but 0 is a failure. Any thread.
void write_error_file(const Error &error);

}  // namespace trainhost
