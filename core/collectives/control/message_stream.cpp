#include "collectives/control/message_stream.h"

#include <array>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace trainhost {
namespace asio = boost::asio;
using boost::system::error_code;

void MessageStream::start(std::function<void(ControlMessage)> on_message, std::function<void(const std::string &)> on_end) {
  on_message_ = std::move(on_message);
  on_end_ = std::move(on_end);
  asio::co_spawn(socket_.get_executor(), read(shared_from_this()), asio::detached);
}

asio::awaitable<void> MessageStream::read(std::shared_ptr<MessageStream> self) {
  error_code error;
  std::array<uint8_t, kControlMessageHeader> header;
  std::string body;
  while (!self->closed_) {
    co_await asio::async_read(socket_, asio::buffer(header), asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    const uint32_t size = uint32_t{header[0]} | uint32_t{header[1]} << 8 | uint32_t{header[2]} << 16 | uint32_t{header[3]} << 24;
    if (size > kControlMessageLimit) co_return end(fmt::format("it sent a message of {} bytes", size));
    body.resize(size);
    co_await asio::async_read(socket_, asio::buffer(body), asio::redirect_error(asio::use_awaitable, error));
    if (error) break;
    auto message = decode_control_message(body);
    if (!message) co_return end("it sent a message that is none");
    on_message_(*std::move(message));
  }
  end(error == asio::error::eof || error == asio::error::connection_reset ? "its connection ended without a goodbye"
                                                                          : "its connection failed: " + error.message());
}

void MessageStream::send_bytes(std::string bytes) {
  if (closed_ || finishing_) return;
  unsent_.push_back(std::move(bytes));
  if (unsent_.size() == 1) write();
}

void MessageStream::write() {
  asio::async_write(socket_, asio::buffer(unsent_.front()), [self = shared_from_this()](const error_code &error, size_t) {
    if (error) {
      self->unsent_.clear();  // the reader learns of it too, and says so
      return;
    }
    self->unsent_.pop_front();
    if (self->unsent_.empty()) return self->finish_when_sent();
    self->write();
  });
}

void MessageStream::finish() {
  finishing_ = true;
  finish_when_sent();
}

void MessageStream::finish_when_sent() {
  error_code ignored;
  if (finishing_ && unsent_.empty()) socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

void MessageStream::close() {
  closed_ = true;
  error_code ignored;
  socket_.close(ignored);
}

void MessageStream::end(const std::string &reason) {
  if (closed_) return;
  close();
  on_end_(reason);
}

}  // namespace trainhost
