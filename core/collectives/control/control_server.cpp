#include "collectives/control/control_server.h"

#include <algorithm>
#include <cstdlib>
#include <list>
#include <map>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "base/log.h"
#include "collectives/control/greeting.h"
#include "collectives/control/message_stream.h"
#include "collectives/control/process_name.h"
#include "collectives/control/rank_roster.h"

namespace trainhost {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = RankRecord::Clock;
using State = RankRecord::State;
using Type = ControlMessage::Type;

constexpr size_t kStrangers = 64;                 // connections that have not greeted yet, at a time
constexpr std::chrono::seconds kGreetingTime{5};  // for a stranger to greet

class Server : public ControlServer {
 public:
  Server(const LaunchEnvironment &launch, const ControlSettings &settings)
      : acceptor_(io_), tick_(io_), launch_(launch), settings_(settings), roster_(launch.world_size), streams_(launch.world_size) {}

  ~Server() override {
    asio::post(io_, [this] { finish(); });
    if (thread_.joinable()) thread_.join();
  }

  uint16_t port() const override { return port_; }

  Result<> open() {
    error_code error;
    if (launch_.listener) {
      acceptor_.assign(tcp::v4(), *launch_.listener, error);
      if (error) return failure(ErrorKind::kInternal, "the inherited listening socket cannot be used: " + error.message());
    } else {
      TRAINHOST_CHECK(bind());
    }
    port_ = acceptor_.local_endpoint(error).port();
    ::fcntl(acceptor_.native_handle(), F_SETFD, FD_CLOEXEC);
    deadline_ = Clock::now() + settings_.timeout;
    asio::co_spawn(io_, admit_strangers(), asio::detached);
    arm_tick();
    thread_ = std::thread([this] { io_.run(); });
    return {};
  }

 private:
  struct Question {
    uint32_t asker;
    ControlMessage message;
    std::string group;
    uint64_t number;
    std::vector<uint32_t> ranks;
    Clock::time_point asked;
  };

  Result<> bind() {
    error_code error;
    const auto address = asio::ip::make_address(launch_.interface, error);
    if (error)
      return failure(ErrorKind::kUsage,
                     fmt::format("\"{}\" is no address to listen at; give an address of this machine", launch_.interface));
    const tcp::endpoint endpoint(address, launch_.master_port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
    if (!error) return {};
    if (error == asio::error::address_in_use) {
      return failure(ErrorKind::kUnavailable,
                     fmt::format("rank 0 cannot listen at {} port {}: another program uses it; choose another port "
                                 "or end that program",
                                 launch_.interface, launch_.master_port));
    }
    if (error == boost::system::errc::address_not_available) {
      return failure(ErrorKind::kUsage, fmt::format("rank 0 cannot listen at {}: this machine has no such address", launch_.interface));
    }
    return failure(ErrorKind::kUnavailable,
                   fmt::format("rank 0 cannot listen at {} port {}: {}", launch_.interface, launch_.master_port, error.message()));
  }

  // Strangers.

  asio::awaitable<void> admit_strangers() {
    while (acceptor_.is_open()) {
      error_code error;
      auto socket = std::make_shared<tcp::socket>(io_);
      co_await acceptor_.async_accept(*socket, asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::operation_aborted) co_return;
      if (error) {  // out of file descriptors, as a rule
        asio::steady_timer pause(io_, std::chrono::milliseconds(100));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      ::fcntl(socket->native_handle(), F_SETFD, FD_CLOEXEC);
      if (strangers_.size() == kStrangers) {  // a rank greets at once; the oldest is somebody else
        strangers_.front()->close(error);
        strangers_.pop_front();
      }
      strangers_.push_back(socket);
      asio::co_spawn(io_, meet(socket), asio::detached);
    }
  }

  asio::awaitable<void> meet(std::shared_ptr<tcp::socket> socket) {
    error_code error;
    asio::steady_timer limit(io_, kGreetingTime);
    limit.async_wait([socket](const error_code &cancelled) {
      error_code ignored;
      if (!cancelled) socket->close(ignored);
    });
    socket->set_option(tcp::no_delay(true), error);
    const Challenge challenge = fresh_challenge();
    const OpeningBytes opening = encode_opening(challenge);
    co_await asio::async_write(*socket, asio::buffer(opening), asio::redirect_error(asio::use_awaitable, error));
    GreetingBytes greeting{};
    if (!error) co_await asio::async_read(*socket, asio::buffer(greeting), asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      Judgement judgement = judge_greeting(greeting, challenge, launch_.token);
      if (socket->available(error) > 0) judgement.verdict = Verdict::kNotUnderstood;  // more than a greeting before the reply
      const Reply reply = reply_to(judgement);
      const ReplyBytes bytes = encode_reply(reply, judgement.greeting.challenge, challenge, launch_.token);
      if (reply.verdict == Verdict::kWelcome) {
        const auto stream = admit(judgement.greeting.rank, std::move(*socket));
        stream->send_bytes({bytes.begin(), bytes.end()});
        stream->send({Type::kWelcome, 0, {host_name(), process_number()}});
        if (refusal_) stream->send(*refusal_);
        if (last_moment_) stream->finish();
      } else {
        co_await asio::async_write(*socket, asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
        refused(reply.verdict, judgement.greeting);
      }
    }
    limit.cancel();
    strangers_.remove(socket);
  }

  Reply reply_to(const Judgement &judgement) const {
    if (judgement.verdict != Verdict::kWelcome) return {judgement.verdict, 0};
    if (judgement.greeting.world_size != launch_.world_size || judgement.greeting.rank >= launch_.world_size) {
      return {Verdict::kOtherWorldSize, launch_.world_size};
    }
    if (streams_[judgement.greeting.rank] != nullptr) return {Verdict::kRankTaken, 0};
    return {Verdict::kWelcome, launch_.world_size};
  }

  // A stranger must not be able to end a run; a process of the run that contradicts the others ends it before it has begun.
  void refused(Verdict verdict, const Greeting &greeting) {
    if (verdict == Verdict::kWrongToken) ++wrong_tokens_;
    if (verdict == Verdict::kOtherWorldSize) {
      give_up(ErrorKind::kUsage, fmt::format("rank {} was started with a world size of {}, rank 0 with {}", greeting.rank,
                                             greeting.world_size, launch_.world_size));
    }
    if (verdict == Verdict::kRankTaken) {
      give_up(ErrorKind::kUsage,
              fmt::format("two processes were started as {}", describe_rank(greeting.rank, roster_[greeting.rank], Clock::now())));
    }
  }

  // Ranks.

  std::shared_ptr<MessageStream> admit(uint32_t rank, tcp::socket socket) {
    const auto stream = std::make_shared<MessageStream>(std::move(socket));
    streams_[rank] = stream;
    hear_from(roster_[rank]);
    stream->start([this, rank](ControlMessage message) { take(rank, std::move(message)); },
                  [this, rank](const std::string &reason) { lose(rank, reason); });
    return stream;
  }

  void take(uint32_t rank, ControlMessage message) {
    hear_from(roster_[rank]);
    const auto field = [&](size_t index) { return index < message.fields.size() ? message.fields[index] : std::string(); };
    switch (message.type) {
      case Type::kHello:
        return introduce(rank, field(0), field(1));
      case Type::kSet:
        return keep(field(0), field(1));
      case Type::kGet:
      case Type::kLook:
        return look_up(rank, message, field(0));
      case Type::kHeartbeat:
        take_heartbeat(message, roster_[rank]);
        return answer_questions();
      case Type::kMissing:
        return ask_everybody(rank, message);
      case Type::kStop:
        if (!started_) give_up(ErrorKind::kStopped, fmt::format("rank {} was stopped by a signal before all ranks were connected", rank));
        return tell_others(rank, {Type::kStop});
      case Type::kLeave:
        return part(rank, field(0));
      default:
        return lose(rank, "it sent a message that only rank 0 sends");
    }
  }

  void introduce(uint32_t rank, std::string host, std::string process) {
    roster_[rank].host = std::move(host);
    roster_[rank].process = std::move(process);
    roster_[rank].state = State::kPresent;
    if (started_ || refusal_ || !roster_.with_state(State::kAbsent).empty()) return;
    started_ = true;
    tell_all({Type::kStart});
  }

  // Before the start: tells all ranks that there will be no run, those too that are still to come, unless their time is over.
  void give_up(ErrorKind kind, const std::string &text) {
    if (started_ || refusal_) return;
    latecomers_told_ = Clock::now() <= deadline_;
    refusal_ = {Type::kRefusal, 0, {std::to_string(static_cast<int>(kind)), text}};
    tell_all(*refusal_);
  }

  void part(uint32_t rank, const std::string &error) {
    if (error.empty()) {
      roster_[rank].state = State::kLeft;
      if (rank != 0) send(rank, {Type::kGoodbye});
      return release_rank_0();
    }
    send(rank, {Type::kGoodbye});
    const std::string who = describe_rank(rank, roster_[rank], Clock::now());
    roster_[rank].state = State::kLost;
    roster_[rank].ending = fmt::format("{} has failed: {}", who, error);
    report_loss(rank);
  }

  // Rank 0 says goodbye last: its process holds the channel of the others.
  void release_rank_0() {
    if (roster_[0].state == State::kLeft && roster_.with_state(State::kPresent).empty()) send(0, {Type::kGoodbye});
  }

  void lose(uint32_t rank, const std::string &how) {
    streams_[rank]->close();
    if (last_moment_) return stop_when_all_have_gone();
    RankRecord &record = roster_[rank];
    if (record.state == State::kLeft || record.state == State::kLost) return;
    const std::string ending = describe_loss(rank, record, how, Clock::now());
    record.state = State::kLost;
    record.ending = ending;
    give_up(ErrorKind::kUnavailable, ending + ", before all ranks were connected");
    if (started_) report_loss(rank);
  }

  void report_loss(uint32_t lost) {
    for (uint32_t rank = 0; rank < roster_.size(); ++rank) {
      if (rank == 0 || roster_[rank].state == State::kPresent) send(rank, {Type::kLoss, 0, {roster_[lost].ending}});
    }
    answer_questions();
  }

  // Values.

  void keep(const std::string &key, const std::string &value) {
    values_[key] = value;
    waiting_.remove_if([&](const auto &waiter) {
      if (waiter.second.fields[0] != key) return false;
      send(waiter.first, {Type::kAnswer, waiter.second.request, {value}});
      return true;
    });
  }

  void look_up(uint32_t rank, const ControlMessage &message, const std::string &key) {
    const auto found = values_.find(key);
    if (found != values_.end()) return send(rank, {Type::kAnswer, message.request, {found->second}});
    if (message.type == Type::kLook) return send(rank, {Type::kAnswer, message.request});
    if (!message.fields.empty()) waiting_.emplace_back(rank, message);
  }

  // Who is missing.

  void ask_everybody(uint32_t asker, const ControlMessage &message) {
    if (message.fields.size() < 2) return;
    Question question{asker, message, message.fields[0], std::strtoull(message.fields[1].c_str(), nullptr, 10), {}, Clock::now()};
    for (size_t field = 2; field < message.fields.size(); ++field) {
      question.ranks.push_back(static_cast<uint32_t>(std::strtoul(message.fields[field].c_str(), nullptr, 10)));
    }
    questions_.push_back(std::move(question));
    tell_all({Type::kReport});
  }

  void answer_questions() {
    const auto now = Clock::now();
    questions_.remove_if([&](const Question &question) {
      if (now < question.asked + 2 * settings_.heartbeat) {
        for (const uint32_t rank : question.ranks) {
          if (rank >= roster_.size() || roster_[rank].state != State::kPresent) continue;
          if (roster_[rank].heard <= question.asked) return false;
        }
      }
      send(question.asker,
           {Type::kAnswer, question.message.request, {roster_.missing(question.group, question.number, question.ranks, now)}});
      return true;
    });
  }

  // Time.

  void arm_tick() {
    tick_.expires_after(SilenceWatch::interval(settings_.heartbeat));
    tick_.async_wait([this](const error_code &cancelled) {
      if (!cancelled) tick();
    });
  }

  void tick() {
    const auto now = Clock::now();
    const auto step = watch_.step(now);
    if (last_moment_ && now > *last_moment_) return io_.stop();
    if (!started_ && now > deadline_) give_up(ErrorKind::kUnavailable, rendezvous_failure());
    for (uint32_t rank = 0; rank < roster_.size(); ++rank) {
      RankRecord &record = roster_[rank];
      record.silence += step;
      if (!last_moment_ && record.state == State::kPresent && watch_.is_lost(record.silence)) {
        lose(rank, fmt::format("it has missed two heartbeats of {} s", std::chrono::duration<double>(settings_.heartbeat).count()));
      }
    }
    answer_questions();
    if (now >= next_heartbeat_) {
      next_heartbeat_ = now + settings_.heartbeat;
      tell_all({Type::kHeartbeat, 0, {roster_[0].activity, roster_.with_state(started_ ? State::kPresent : State::kAbsent)}});
    }
    arm_tick();
  }

  std::string rendezvous_failure() const {
    std::string text = fmt::format("{} did not connect to rank 0 at {} port {} within {:.3g} s", roster_.with_state(State::kAbsent),
                                   launch_.interface, port_, std::chrono::duration<double>(settings_.timeout).count());
    if (wrong_tokens_ == 1) text += "; 1 connection was refused because its token was wrong";
    if (wrong_tokens_ > 1) text += fmt::format("; {} connections were refused because their tokens were wrong", wrong_tokens_);
    return text;
  }

  // Sending.

  void send(uint32_t rank, const ControlMessage &message) {
    if (streams_[rank] != nullptr) streams_[rank]->send(message);
  }
  void tell_all(const ControlMessage &message) {
    for (uint32_t rank = 0; rank < roster_.size(); ++rank) send(rank, message);
  }
  void tell_others(uint32_t one, const ControlMessage &message) {
    for (uint32_t rank = 0; rank < roster_.size(); ++rank) {
      if (rank != one) send(rank, message);
    }
  }

  // The end: all that is still to be sent goes out, and the others close their connections.

  void finish() {
    last_moment_ = Clock::now() + 2 * settings_.heartbeat;
    for (const auto &stream : streams_) {
      if (stream != nullptr) stream->finish();
    }
    stop_when_all_have_gone();
  }

  // Ranks that are still to come are told, too, that the run was started wrongly or is to stop.
  void stop_when_all_have_gone() {
    const bool gone =
        std::ranges::all_of(streams_, [&](const auto &stream) { return stream == nullptr ? !latecomers_told_ : stream->closed(); });
    if (gone) io_.stop();
  }

  asio::io_context io_;
  tcp::acceptor acceptor_;
  asio::steady_timer tick_;
  const LaunchEnvironment launch_;
  const ControlSettings settings_;
  uint16_t port_ = 0;

  // All that follows belongs to the thread.
  RankRoster roster_;
  std::vector<std::shared_ptr<MessageStream>> streams_;  // by rank
  std::list<std::shared_ptr<tcp::socket>> strangers_;
  size_t wrong_tokens_ = 0;
  bool started_ = false, latecomers_told_ = false;
  std::optional<ControlMessage> refusal_;
  std::map<std::string, std::string> values_;
  std::list<std::pair<uint32_t, ControlMessage>> waiting_;  // kGet of keys that are not set
  std::list<Question> questions_;
  SilenceWatch watch_{settings_.heartbeat};
  Clock::time_point deadline_{}, next_heartbeat_{};
  std::optional<Clock::time_point> last_moment_;

  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::listen(const LaunchEnvironment &launch, const ControlSettings &settings) {
  auto server = std::make_unique<Server>(launch, settings);
  TRAINHOST_CHECK(server->open());
  return server;
}

}  // namespace trainhost
