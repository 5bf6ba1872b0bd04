// The reasons that plugins give for failed calls, one per thread.
#pragma once

#include <string>
#include <string_view>

#include "trainhost/host.h"

namespace trainhost {

// Replaces the calling thread's record.
void record_failure(const th_host *host, th_status code, std::string_view text);
// The text that `host` was given on this thread with this code since the last take; empty when it was given none. Forgets the record.
std::string take_failure(const th_host *host, th_status code);
std::string take_failure(const th_host *host);  // with whatever code

}  // namespace trainhost
