// A connection that carries control messages.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>  // Boost 1.74's awaitable.hpp uses it without including it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "collectives/control/control_message.h"

namespace trainhost {

// Lives on the thread that runs its socket's io_context; every function is called there.
class MessageStream : public std::enable_shared_from_this<MessageStream> {
 public:
  explicit MessageStream(boost::asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

  // Reads until the connection ends; on_end then says why. Neither handler is called after close().
  void start(std::function<void(ControlMessage)> on_message, std::function<void(const std::string &reason)> on_end);
  void send(const ControlMessage &message) { send_bytes(encode(message)); }
  void send_bytes(std::string bytes);
  // Lets the other side know that nothing more will be sent, once all has been; goes on reading.
  void finish();
  void close();
  bool closed() const { return closed_; }

 private:
  boost::asio::awaitable<void> read(std::shared_ptr<MessageStream> self);
  void write();
  void finish_when_sent();
  void end(const std::string &reason);

  boost::asio::ip::tcp::socket socket_;
  bool closed_ = false, finishing_ = false;
  std::deque<std::string> unsent_;
  std::function<void(ControlMessage)> on_message_;
  std::function<void(const std::string &)> on_end_;
};

}  // namespace trainhost
