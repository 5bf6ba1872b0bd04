#include "collectives/network.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace trainhost {
namespace {

std::string text_of(const sockaddr *address) {
  const socklen_t size = address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  char text[NI_MAXHOST];
  return getnameinfo(address, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0 ? text : "";
}

std::vector<InterfaceAddress> addresses_of_this_machine() {
  ifaddrs *first = nullptr;
  if (getifaddrs(&first) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(first, freeifaddrs);
  std::vector<InterfaceAddress> found;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs *each = first; each != nullptr; each = each->ifa_next) {
      const bool usable = each->ifa_addr != nullptr && each->ifa_addr->sa_family == family && (each->ifa_flags & IFF_UP) != 0;
      if (usable) found.push_back({each->ifa_name, text_of(each->ifa_addr)});
    }
  }
  return found;
}

// Connecting a datagram socket sends nothing, but makes the kernel choose the route and thereby the own address.
std::string own_address_towards(const addrinfo &host) {
  const int descriptor = socket(host.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return "";
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  const bool found =
      connect(descriptor, host.ai_addr, host.ai_addrlen) == 0 && getsockname(descriptor, reinterpret_cast<sockaddr *>(&own), &size) == 0;
  const int problem = errno;
  close(descriptor);
  errno = problem;
  return found ? text_of(reinterpret_cast<sockaddr *>(&own)) : "";
}

Result<std::string> address_towards(const std::string &host) {
  addrinfo wanted{}, *first = nullptr;
  wanted.ai_socktype = SOCK_DGRAM;
  const int problem = getaddrinfo(host.c_str(), "9", &wanted, &first);  // any port does
  if (problem != 0) {
    return failure(ErrorKind::kUnavailable, fmt::format("\"{}\" is not a host that this machine knows: {}", host,
                                                        problem == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(problem)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(first, freeaddrinfo);
  for (const addrinfo *each = first; each != nullptr; each = each->ai_next) {
    if (const std::string own = own_address_towards(*each); !own.empty()) return own;
  }
  return failure(ErrorKind::kUnavailable, fmt::format("there is no way from this machine to \"{}\": {}", host, std::strerror(errno)));
}

}  // namespace

bool is_loopback(const std::string &host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

Network network_of_this_machine() { return {.addresses = addresses_of_this_machine, .address_towards = address_towards}; }

}  // namespace trainhost
