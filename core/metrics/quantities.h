// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace trainhost {

std::string count_text(double count);                 // "950", "1.5k", "12.3M", "2.0B"
std::string bytes_text(uint64_t bytes);               // "512 B", "12.3 MB": powers of 1000
std::string duration_text(double seconds);            // "0.4s", "12s", "3m 20s", "2h 05m", "3d 04h"
std::string percent_text(double done, double total);  // "45%"; 100% only when all is done
std::string step_text(uint64_t step);                 // "12,345"

}  // namespace trainhost
