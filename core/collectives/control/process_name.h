// How a process is named to people on other machines.
#pragma once

#include <string>

namespace trainhost {

std::string host_name();
std::string process_number();

}  // namespace trainhost
