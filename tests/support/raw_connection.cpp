#include "support/raw_connection.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace trainhost::test {

RawConnection::RawConnection(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const timeval patience{7, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (::connect(socket_, reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0) {
    std::perror("a connection to the loopback");
    std::abort();
  }
}

RawConnection::~RawConnection() { ::close(socket_); }

void RawConnection::send(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
}

std::vector<uint8_t> RawConnection::receive(size_t size) {
  std::vector<uint8_t> bytes(size);
  size_t received = 0;
  while (received < size) {
    const ssize_t more = ::recv(socket_, bytes.data() + received, size - received, 0);
    if (more <= 0) break;
    received += static_cast<size_t>(more);
  }
  bytes.resize(received);
  return bytes;
}

bool RawConnection::ended() {
  uint8_t byte = 0;
  const ssize_t more = ::recv(socket_, &byte, 1, 0);
  return more == 0 || (more < 0 && errno == ECONNRESET);
}

}  // namespace trainhost::test
