// The addresses of this machine.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace trainhost {

struct InterfaceAddress {
  std::string interface, address;  // "eth0", "10.0.0.5"
};

inline constexpr char kLoopback[] = "127.0.0.1";

// Whether a host's name or address can only mean the machine that uses it: "localhost", 127.0.0.0/8, ::1.
bool is_loopback(const std::string &host);

// What the launch asks the network; the tests have one of their own.
struct Network {
  // Every address of every interface that is up; IPv4 before IPv6.
  std::function<std::vector<InterfaceAddress>()> addresses;
  // The address of this machine from which packets to that host leave. Sends none. kUnavailable: the host is not known, or there is no way
  // to it.
  std::function<Result<std::string>(const std::string &host)> address_towards;
};

Network network_of_this_machine();

}  // namespace trainhost
