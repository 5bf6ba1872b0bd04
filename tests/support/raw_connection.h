// A stranger who speaks to a port of the loopback byte by byte.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace trainhost::test {

class RawConnection {
 public:
  explicit RawConnection(uint16_t port);
  ~RawConnection();
  RawConnection(const RawConnection &) = delete;
  RawConnection &operator=(const RawConnection &) = delete;

  void send(std::span<const uint8_t> bytes);
  // As many bytes, or fewer when the other side ends the connection or says nothing for 7 s.
  std::vector<uint8_t> receive(size_t size);
  // Whether the other side has ended the connection, within 7 s.
  bool ended();

 private:
  int socket_;
};

}  // namespace trainhost::test
