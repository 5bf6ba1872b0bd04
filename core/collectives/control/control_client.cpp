#include "collectives/control/control_client.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
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
#include "collectives/control/activity.h"
#include "collectives/control/greeting.h"
#include "collectives/control/message_stream.h"
#include "collectives/control/process_name.h"
#include "collectives/control/rank_roster.h"
#include "collectives/error_file.h"

namespace trainhost {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = RankRecord::Clock;
using Type = ControlMessage::Type;

constexpr std::chrono::seconds kAttemptTime{5};  // to connect and greet, before another attempt
constexpr std::chrono::milliseconds kAttemptPause{200};
constexpr std::chrono::seconds kProgressTime{10};    // between two messages about a wait
constexpr std::chrono::milliseconds kLookAgain{50};  // whether the run is to be stopped
constexpr char kStoppedEarly[] = "stopped by a signal before all ranks were connected; start again to go on";

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

class Client : public ControlChannel {
 public:
  Client(const LaunchEnvironment &launch, const ControlSettings &settings, const MasterPlace &place, std::unique_ptr<ControlServer> server)
      : server_(std::move(server)), tick_(io_), launch_(launch), settings_(settings), place_(place) {}

  ~Client() override {
    asio::post(io_, [this] {
      if (stream_) stream_->close();
      io_.stop();
    });
    if (thread_.joinable()) thread_.join();
  }

  Result<> connect() {
    const auto begun = Clock::now();
    asio::co_spawn(io_, reach_master(), asio::detached);
    thread_ = std::thread([this] { io_.run(); });
    std::unique_lock lock(mutex_);
    std::optional<Clock::time_point> stopped;
    // A connected rank waits for what rank 0 says, which may have begun to wait a little later.
    while (!started_ && !refusal_) {
      if (settings_.stop != nullptr && *settings_.stop && give_up(stopped)) return failure(ErrorKind::kStopped, kStoppedEarly);
      const auto limit = settings_.timeout + (connected_ ? 3 * settings_.heartbeat : std::chrono::milliseconds(0));
      const auto waited = Clock::now() - begun;
      if (waited > limit) return failure(ErrorKind::kUnavailable, unreachable(waited));
      const auto next_progress = begun + (waited / kProgressTime + 1) * kProgressTime;
      changed_.wait_for(lock, kLookAgain, [this, was = connected_] { return started_ || refusal_ || connected_ != was; });
      if (!started_ && !refusal_ && Clock::now() >= next_progress) show_progress(Clock::now() - begun);
    }
    if (refusal_) return tl::unexpected(*refusal_);
    return {};
  }

  Result<> set(const std::string &key, std::string value) override {
    if (key.size() + value.size() > (1 << 20)) {
      return failure(ErrorKind::kInternal, fmt::format("the value of \"{}\" has {} bytes, at most 1 MB is allowed", key, value.size()));
    }
    TRAINHOST_CHECK(check_alive());
    post({Type::kSet, 0, {key, std::move(value)}});
    return {};
  }

  Result<std::string> get(const std::string &key) override {
    TRAINHOST_TRY(auto fields, ask({Type::kGet, 0, {key}}, settings_.timeout));
    if (fields && !fields->empty()) return fields->front();
    return failure(ErrorKind::kUnavailable, fmt::format("no rank has set \"{}\" within {:.3g} s", key, seconds(settings_.timeout)));
  }

  Result<std::optional<std::string>> look(const std::string &key) override {
    TRAINHOST_TRY(auto fields, ask({Type::kLook, 0, {key}}, settings_.timeout));
    if (!fields)
      return failure(ErrorKind::kUnavailable, fmt::format("rank 0 has not answered within {:.3g} s", seconds(settings_.timeout)));
    return fields->empty() ? std::optional<std::string>() : std::optional(fields->front());
  }

  void report_activity(std::string activity) override { activity_.set_task(std::move(activity)); }
  void report_begun(const Operation &operation) override { activity_.begun(operation); }
  void report_awaited(const Operation &operation) override { activity_.awaited(operation); }
  void report_done(const Operation &operation) override { activity_.done(operation); }

  std::string missing(const Operation &operation, std::span<const uint32_t> ranks) override {
    ControlMessage question{Type::kMissing, 0, {operation.group, std::to_string(operation.number)}};
    for (const uint32_t rank : ranks) question.fields.push_back(std::to_string(rank));
    const auto answer = ask(std::move(question), 3 * settings_.heartbeat);
    if (!answer) return answer.error().message;
    if (*answer && !(*answer)->empty()) return (*answer)->front();
    return "rank 0, which does not answer";
  }

  void announce_stop() override { post({Type::kStop}); }

  void leave(std::string_view failed) override {
    post({Type::kLeave, 0, {std::string(failed)}});
    std::unique_lock lock(mutex_);
    if (server_ == nullptr || !failed.empty()) {
      changed_.wait_for(lock, 2 * settings_.heartbeat, [this] { return goodbye_ || loss_; });
      return;
    }
    const auto begun = Clock::now();  // rank 0 keeps the others' channel up until they have left
    while (!changed_.wait_for(lock, std::min<Clock::duration>(kProgressTime, settings_.timeout), [this] { return goodbye_ || loss_; })) {
      const auto waited = Clock::now() - begun;
      if (waited >= settings_.timeout) {
        return log_error(
            fmt::format("this rank has finished and ends without {}, which did not leave within {:.3g} s", others_, seconds(waited)));
      }
      log_info(fmt::format("this rank has finished and waits for {} ({} s)", others_, static_cast<int>(seconds(waited))));
    }
  }

  void on_loss(std::function<void(const std::string &)> handler) override {
    const std::lock_guard lock(mutex_);
    on_loss_ = std::move(handler);
  }

  void on_stop(std::function<void()> handler) override {
    bool announced = false;
    {
      const std::lock_guard lock(mutex_);
      on_stop_ = std::move(handler);
      announced = stop_announced_;
    }
    if (announced) asio::post(io_, [this] { call_stop_handler(); });
  }

 private:
  // Reaching rank 0.

  asio::awaitable<void> reach_master() {
    error_code error;
    while (true) {
      auto socket = std::make_shared<tcp::socket>(io_);
      asio::steady_timer limit(io_, kAttemptTime);
      limit.async_wait([socket](const error_code &cancelled) {
        error_code ignored;
        if (!cancelled) socket->close(ignored);
      });
      Challenge own = fresh_challenge(), master{};
      std::string obstacle;
      co_await dial(*socket, obstacle);
      if (obstacle.empty()) co_await greet(*socket, own, master, obstacle);
      if (obstacle.empty()) {
        ReplyBytes bytes{};
        co_await asio::async_read(*socket, asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
        if (error) {
          obstacle = "it ended the connection while greeting: " + error.message();
        } else if (take_reply(decode_reply(bytes, own, master, launch_.token))) {
          limit.cancel();
          begin(std::move(*socket));
          co_return;
        } else {
          co_return;
        }
      }
      note_obstacle(obstacle);
      limit.expires_after(kAttemptPause);
      co_await limit.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }

  asio::awaitable<void> dial(tcp::socket &socket, std::string &obstacle) {
    error_code error;
    tcp::resolver resolver(io_);
    const auto found =
        co_await resolver.async_resolve(place_.address, std::to_string(place_.port), asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      obstacle = "its name cannot be resolved: " + error.message();
      co_return;
    }
    const tcp::endpoint own(asio::ip::make_address(launch_.interface, error), 0);
    if (!error) socket.open(own.protocol(), error);
    if (!error) ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
    if (!error) socket.bind(own, error);
    if (error) {
      obstacle = fmt::format("a socket cannot be bound to {}: {}", launch_.interface, error.message());
      co_return;
    }
    const auto alike = std::ranges::find_if(found, [&](const auto &entry) { return entry.endpoint().protocol() == own.protocol(); });
    if (alike == found.end()) {
      obstacle = fmt::format("it has no address of the kind of {}", launch_.interface);
      co_return;
    }
    const tcp::endpoint endpoint = alike->endpoint();
    co_await socket.async_connect(endpoint, asio::redirect_error(asio::use_awaitable, error));
    if (error) obstacle = error == asio::error::operation_aborted ? "it does not answer" : error.message();
    // TCP connects a socket to itself where nobody listens and its own port happens to be the one it calls.
    if (obstacle.empty() && socket.local_endpoint(error) == endpoint) obstacle = "nobody listens there";
  }

  asio::awaitable<void> greet(tcp::socket &socket, const Challenge &own, Challenge &master, std::string &obstacle) {
    error_code error;
    socket.set_option(tcp::no_delay(true), error);
    OpeningBytes opening{};
    co_await asio::async_read(socket, asio::buffer(opening), asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      obstacle = "something listens there, but does not greet as rank 0 of trainhost does";
      co_return;
    }
    const auto challenge = decode_opening(opening);
    if (!challenge) {
      refuse(ErrorKind::kUnavailable, fmt::format("at {}, where rank 0 should be, another program or another version of trainhost listens; "
                                                  "choose another port",
                                                  where()));
      obstacle = "another program listens there";
      co_return;
    }
    master = *challenge;
    const GreetingBytes greeting = encode_greeting({launch_.rank, launch_.world_size, own}, master, launch_.token);
    co_await asio::async_write(socket, asio::buffer(greeting), asio::redirect_error(asio::use_awaitable, error));
    if (error) obstacle = "it ended the connection while greeting: " + error.message();
  }

  bool take_reply(const std::optional<Reply> &reply) {
    if (!reply) {
      refuse(ErrorKind::kUsage,
             fmt::format("what listens at {} does not know this run's token: it is another run or another program", where()));
      return false;
    }
    switch (reply->verdict) {
      case Verdict::kWelcome:
        return true;
      case Verdict::kNotUnderstood:
      case Verdict::kOtherVersion:
        refuse(ErrorKind::kUsage, fmt::format("rank 0 at {} is another version of trainhost; use one for all ranks", where()));
        return false;
      case Verdict::kWrongToken:
        refuse(ErrorKind::kUsage,
               fmt::format("rank 0 at {} refuses this rank {}: it has another token; all ranks of a run need the same one", where(),
                           launch_.rank));
        return false;
      case Verdict::kOtherWorldSize:
        refuse(ErrorKind::kUsage, fmt::format("rank 0 at {} was started with a world size of {}, this rank {} with {}", where(),
                                              reply->detail, launch_.rank, launch_.world_size));
        return false;
      case Verdict::kRankTaken:
        refuse(ErrorKind::kUsage, fmt::format("rank 0 at {} refuses this process: another one is rank {}, too", where(), launch_.rank));
        return false;
    }
    return false;
  }

  // This rank is to stop: has rank 0 tell all others, if it can be reached within two heartbeats. True when nothing more is to come.
  bool give_up(std::optional<Clock::time_point> &stopped) {
    const auto now = Clock::now();
    if (!stopped) stopped = now;
    if (connected_ && !std::exchange(stop_told_, true)) post({Type::kStop});
    return now > *stopped + 2 * settings_.heartbeat;
  }

  std::string where() const { return fmt::format("{} port {}", place_.address, place_.port); }

  void refuse(ErrorKind kind, std::string text) {
    const std::lock_guard lock(mutex_);
    if (!refusal_) refusal_ = Error{kind, std::move(text)};
    changed_.notify_all();
  }

  void note_obstacle(std::string obstacle) {
    const std::lock_guard lock(mutex_);
    obstacle_ = std::move(obstacle);
  }

  std::string unreachable(Clock::duration waited) const {
    if (connected_) return fmt::format("rank 0 at {} has not gathered all ranks within {:.3g} s", where(), seconds(waited));
    return fmt::format(
        "rank 0 at {} cannot be reached from {}: {} (tried for {:.3g} s); check that rank 0 runs, and that its address and port "
        "are right and not blocked",
        where(), launch_.interface, obstacle_, seconds(waited));
  }

  void show_progress(Clock::duration waited) const {
    const int full = static_cast<int>(seconds(waited));
    if (!connected_) return log_info(fmt::format("trying to reach rank 0 at {} ({} s): {}", where(), full, obstacle_));
    if (launch_.rank == 0) log_info(fmt::format("waiting for {} of {} ({} s)", others_, launch_.world_size, full));
  }

  // Connected.

  void begin(tcp::socket socket) {
    stream_ = std::make_shared<MessageStream>(std::move(socket));
    master_.state = RankRecord::State::kPresent;
    hear_from(master_);
    stream_->start([this](ControlMessage message) { take(message); }, [this](const std::string &reason) { lose_master(reason); });
    stream_->send({Type::kHello, 0, {host_name(), process_number()}});
    {
      const std::lock_guard lock(mutex_);
      connected_ = true;
    }
    changed_.notify_all();
    tick();
  }

  void take(const ControlMessage &message) {
    hear_from(master_);
    const auto field = [&](size_t index) { return index < message.fields.size() ? message.fields[index] : std::string(); };
    switch (message.type) {
      case Type::kWelcome:
        master_.host = field(0);
        master_.process = field(1);
        return;
      case Type::kHeartbeat:
        master_.activity = field(0);
        return note_others(field(1));
      case Type::kStart:
        return change([this] { started_ = true; });
      case Type::kRefusal:
        return refuse(static_cast<ErrorKind>(std::atoi(field(0).c_str())), field(1));
      case Type::kAnswer:
        return change([&] { answers_[message.request] = message.fields; });
      case Type::kReport:
        return stream_->send(activity_.heartbeat());
      case Type::kStop:
        change([this] { stop_announced_ = true; });
        return call_stop_handler();
      case Type::kLoss:
        return report_loss(field(0));
      case Type::kGoodbye:
        return change([this] { goodbye_ = true; });
      default:
        return lose_master("it sent a message that only other ranks send");
    }
  }

  void tick() {
    if (stream_->closed()) return;
    const auto now = Clock::now();
    master_.silence += watch_.step(now);
    if (now >= next_heartbeat_) {
      next_heartbeat_ = now + settings_.heartbeat;
      stream_->send(activity_.heartbeat());
    }
    if (watch_.is_lost(master_.silence)) {
      lose_master(fmt::format("it has missed two heartbeats of {} s", seconds(settings_.heartbeat)));
    }
    tick_.expires_after(SilenceWatch::interval(settings_.heartbeat));
    tick_.async_wait([this](const error_code &cancelled) {
      if (!cancelled) tick();
    });
  }

  void lose_master(const std::string &how) {
    stream_->close();
    {
      const std::lock_guard lock(mutex_);
      if (goodbye_) return;
    }
    report_loss(describe_loss(0, master_, how, Clock::now()));
  }

  void report_loss(const std::string &what) {
    std::function<void(const std::string &)> handler;
    {
      const std::lock_guard lock(mutex_);
      if (loss_) return;
      loss_ = what;
      if (!started_ && !refusal_) refusal_ = Error{ErrorKind::kUnavailable, what};
      changed_.notify_all();
      if (!started_) return;
      handler = on_loss_;
    }
    if (handler) return handler(what);
    end_process(what);
  }

  [[noreturn]] void end_process(const std::string &what) {
    const int code = exit_code(ErrorKind::kUnavailable);
    std::thread([grace = 2 * settings_.heartbeat, code] {  // a log that nobody reads must not keep the process alive
      std::this_thread::sleep_for(grace);
      ::_exit(code);
    })
        .detach();
    const std::string own = activity_.describe();
    log_error(fmt::format("{}; this rank {} ends{}{}", what, launch_.rank, own.empty() ? "" : ", last at: ", own));
    write_error_file({ErrorKind::kUnavailable, what});
    stream_->close();
    server_.reset();  // at rank 0: tells the others first
    std::fflush(nullptr);
    ::_exit(code);
  }

  void call_stop_handler() {
    std::function<void()> handler;
    {
      const std::lock_guard lock(mutex_);
      handler = on_stop_;
    }
    if (handler) handler();
  }

  void note_others(std::string others) {
    const std::lock_guard lock(mutex_);
    others_ = std::move(others);
  }

  // Questions of other threads.

  template <class Change>
  void change(Change apply) {
    const std::lock_guard lock(mutex_);
    apply();
    changed_.notify_all();
  }

  void post(ControlMessage message) {
    asio::post(io_, [this, message = std::move(message)] { stream_->send(message); });
  }

  Result<> check_alive() {
    const std::lock_guard lock(mutex_);
    if (loss_) return failure(ErrorKind::kUnavailable, *loss_);
    return {};
  }

  // The answer's fields; nothing when none came in time.
  Result<std::optional<std::vector<std::string>>> ask(ControlMessage question, std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    const uint64_t request = ++requests_;
    question.request = request;
    post(std::move(question));
    changed_.wait_for(lock, timeout, [&] { return answers_.contains(request) || loss_; });
    const auto answer = answers_.find(request);
    if (answer == answers_.end()) {
      if (loss_) return failure(ErrorKind::kUnavailable, *loss_);
      return std::nullopt;
    }
    auto fields = std::move(answer->second);
    answers_.erase(answer);
    return fields;
  }

  std::unique_ptr<ControlServer> server_;  // outlives the connection to it
  asio::io_context io_;
  asio::steady_timer tick_;
  const LaunchEnvironment launch_;
  const ControlSettings settings_;
  const MasterPlace place_;
  RankActivity activity_;

  // The thread's.
  std::shared_ptr<MessageStream> stream_;
  RankRecord master_;
  SilenceWatch watch_{settings_.heartbeat};
  Clock::time_point next_heartbeat_{};

  // Shared, under the mutex.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool connected_ = false, started_ = false, goodbye_ = false, stop_announced_ = false, stop_told_ = false;
  std::optional<Error> refusal_;
  std::optional<std::string> loss_;
  std::string obstacle_, others_;
  uint64_t requests_ = 0;
  std::map<uint64_t, std::vector<std::string>> answers_;
  std::function<void(const std::string &)> on_loss_;
  std::function<void()> on_stop_;

  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<ControlChannel>> connect_to_master(const LaunchEnvironment &launch, const ControlSettings &settings,
                                                          const MasterPlace &master, std::unique_ptr<ControlServer> server) {
  auto client = std::make_unique<Client>(launch, settings, master, std::move(server));
  TRAINHOST_CHECK(client->connect());
  return client;
}

}  // namespace trainhost
