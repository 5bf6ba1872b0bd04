// Where this program lies.
#pragma once

#include <string>

namespace trainhost {

// The absolute path of the program that this process runs. Any thread.
std::string program_path();
// The folder that holds bin/ with the program, and beside it lib/ and plugins/; empty where the system does not tell. Any thread.
std::string installation_folder();

}  // namespace trainhost
