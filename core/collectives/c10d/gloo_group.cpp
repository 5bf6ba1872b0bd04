#include "collectives/c10d/gloo_group.h"

#include <algorithm>
#include <numeric>

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "collectives/c10d/control_store.h"
#include "collectives/c10d/membership.h"
#include "collectives/c10d/thrown_failure.h"

namespace trainhost {
namespace {

using Clock = std::chrono::steady_clock;
using Work = c10::intrusive_ptr<c10d::Work>;
using Gloo = c10d::ProcessGroupGloo;

// Messages to and from other ranks that together are one operation.
class Exchange : public Pending {
 public:
  Exchange(std::shared_ptr<const Membership> membership, Operation operation)
      : membership_(std::move(membership)), operation_(std::move(operation)) {
    membership_->channel.report_begun(operation_);
  }

  // `begin` gives the message's c10d work; what it throws is kept for wait().
  template <class Begin>
  void add(uint32_t other, Begin begin) {
    if (!problem_.empty()) return;
    try {
      messages_.push_back({other, begin()});
    } catch (const std::exception &problem) {
      note(problem, other);
    }
  }

  Result<> wait() override {
    membership_->channel.report_awaited(operation_);
    const auto deadline = Clock::now() + membership_->timeout;
    for (const Message &message : messages_) {
      if (!problem_.empty()) break;
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
      try {
        message.work->wait(std::max(left, std::chrono::milliseconds(1)));
      } catch (const std::exception &problem) {
        note(problem, message.other);
      }
    }
    messages_.clear();
    if (!problem_.empty()) return unfinished(*membership_, operation_, others(), problem_);
    membership_->channel.report_done(operation_);
    return {};
  }

 private:
  struct Message {
    uint32_t other;  // place in the group
    Work work;
  };

  void note(const std::exception &problem, uint32_t other) {
    problem_ = text_of(problem);
    failed_with_ = other;
  }

  // In a collective any rank may be late; a message needs one.
  std::vector<uint32_t> others() const {
    if (operation_.number == 0) return {membership_->members[failed_with_]};
    return membership_->others();
  }

  std::shared_ptr<const Membership> membership_;
  const Operation operation_;
  std::vector<Message> messages_;
  std::string problem_;
  uint32_t failed_with_ = 0;
};

// gloo matches a message by its sender, its receiver and a tag. Collectives use the lower half of the tags, messages the upper.
constexpr uint64_t kTags = 1 << 30;
int collective_tag(uint64_t number) { return static_cast<int>(number % kTags); }
int message_tag(uint64_t number) { return static_cast<int>(kTags + number % (kTags - 1)); }

std::vector<at::Tensor> bytes_at(const void *data, size_t size) {
  return {at::from_blob(const_cast<void *>(data), {static_cast<int64_t>(size)}, at::TensorOptions(at::kByte))};
}

// Every collective is a set of messages between each two ranks: pieces of any length go straight from and to their places, without a copy,
// and gloo's own thread moves them while the caller computes. A group of one rank sends none.
class GlooGroup : public ProcessGroup {
 public:
  GlooGroup(Membership membership, std::shared_ptr<gloo::transport::Device> device)
      : membership_(std::make_shared<Membership>(std::move(membership))), device_(std::move(device)), sent_(size()), received_(size()) {}

  Result<> connect() {
    if (size() == 1) return {};
    const Operation operation{membership_->name, "join", 0};
    membership_->channel.report_awaited(operation);
    try {
      auto options = Gloo::Options::create(membership_->timeout);
      options->devices = {device_};
      options->threads = 1;
      gloo_ = c10::make_intrusive<Gloo>(c10::make_intrusive<ControlStore>(membership_->channel, membership_->name + "/"),
                                        static_cast<int>(rank()), static_cast<int>(size()), options);
    } catch (const std::exception &problem) {
      return unfinished(*membership_, operation, membership_->others(), text_of(problem));
    }
    membership_->channel.report_done(operation);
    return {};
  }

  uint32_t rank() const override { return membership_->place; }
  uint32_t size() const override { return static_cast<uint32_t>(membership_->members.size()); }

  std::unique_ptr<Pending> all_gather(std::span<float> whole, Cuts cuts) override {
    std::vector<size_t> bytes(cuts.begin(), cuts.end());
    for (size_t &cut : bytes) cut *= sizeof(float);
    return gather_bytes("all_gather", whole.data(), bytes);
  }

  std::unique_ptr<Pending> exchange(std::span<const float> whole, Cuts cuts, std::span<float> received) override {
    auto pending = begin("exchange");
    const size_t length = cuts[rank() + 1] - cuts[rank()];
    for_each_other([&](uint32_t other) {
      receive_bytes(*pending, other, received.data() + other * length, length * sizeof(float), collective_tag(operations_));
      send_bytes(*pending, other, whole.data() + cuts[other], (cuts[other + 1] - cuts[other]) * sizeof(float), collective_tag(operations_));
    });
    std::copy_n(whole.data() + cuts[rank()], length, received.data() + rank() * length);
    return pending;
  }

  std::unique_ptr<Pending> send(std::span<const float> values, uint32_t to) override {
    auto pending = begin_message("send {} to rank {}", ++sent_[to], to);
    send_bytes(*pending, to, values.data(), values.size_bytes(), message_tag(sent_[to]));
    return pending;
  }

  std::unique_ptr<Pending> receive(std::span<float> values, uint32_t from) override {
    auto pending = begin_message("receive {} from rank {}", ++received_[from], from);
    receive_bytes(*pending, from, values.data(), values.size_bytes(), message_tag(received_[from]));
    return pending;
  }

  Result<std::vector<double>> gather(std::span<const double> values) override {
    std::vector<double> all(size() * values.size());
    std::copy(values.begin(), values.end(), all.begin() + static_cast<ptrdiff_t>(rank() * values.size()));
    std::vector<size_t> cuts(size() + 1);
    for (size_t place = 0; place < cuts.size(); ++place) cuts[place] = place * values.size_bytes();
    TRAINHOST_CHECK(gather_bytes("gather", all.data(), cuts)->wait());
    return all;
  }

  Result<std::vector<std::string>> gather(const std::string &text) override {
    const double length[] = {static_cast<double>(text.size())};
    TRAINHOST_TRY(const auto lengths, gather(length));
    std::vector<size_t> cuts(1);
    for (const double size : lengths) cuts.push_back(cuts.back() + static_cast<size_t>(size));
    std::string all(cuts.back(), '\0');
    std::copy(text.begin(), text.end(), all.begin() + static_cast<ptrdiff_t>(cuts[rank()]));
    TRAINHOST_CHECK(gather_bytes("gather", all.data(), cuts)->wait());
    std::vector<std::string> texts;
    for (uint32_t place = 0; place < size(); ++place) texts.push_back(all.substr(cuts[place], cuts[place + 1] - cuts[place]));
    return texts;
  }

  Result<std::unique_ptr<ProcessGroup>> split(uint32_t colour) override {
    const double own[] = {static_cast<double>(colour)};
    TRAINHOST_TRY(const auto colours, gather(own));
    auto group = std::make_unique<GlooGroup>(part_of(*membership_, splits_++, colours), device_);
    TRAINHOST_CHECK(group->connect());
    return group;
  }

 private:
  std::unique_ptr<Exchange> begin(const char *name) {
    return std::make_unique<Exchange>(membership_, Operation{membership_->name, name, ++operations_});
  }
  std::unique_ptr<Exchange> begin_message(const char *form, uint64_t number, uint32_t other) {
    return std::make_unique<Exchange>(
        membership_, Operation{membership_->name, fmt::format(fmt::runtime(form), number, membership_->members[other]), 0});
  }

  // The next rank first, so that not all ranks send to the same one at once.
  template <class Use>
  void for_each_other(Use use) {
    for (uint32_t step = 1; step < size(); ++step) use((rank() + step) % size());
  }

  std::unique_ptr<Pending> gather_bytes(const char *name, void *whole, std::span<const size_t> cuts) {
    auto pending = begin(name);
    auto *bytes = static_cast<std::byte *>(whole);
    for_each_other([&](uint32_t other) {
      receive_bytes(*pending, other, bytes + cuts[other], cuts[other + 1] - cuts[other], collective_tag(operations_));
      send_bytes(*pending, other, bytes + cuts[rank()], cuts[rank() + 1] - cuts[rank()], collective_tag(operations_));
    });
    return pending;
  }

  void send_bytes(Exchange &exchange, uint32_t to, const void *data, size_t size, int tag) {
    if (size == 0) return;
    exchange.add(to, [&] {
      auto tensors = bytes_at(data, size);
      return gloo_->send(tensors, static_cast<int>(to), tag);
    });
  }

  void receive_bytes(Exchange &exchange, uint32_t from, void *data, size_t size, int tag) {
    if (size == 0) return;
    exchange.add(from, [&] {
      auto tensors = bytes_at(data, size);
      return gloo_->recv(tensors, static_cast<int>(from), tag);
    });
  }

  std::shared_ptr<const Membership> membership_;
  std::shared_ptr<gloo::transport::Device> device_;
  c10::intrusive_ptr<Gloo> gloo_;
  uint64_t operations_ = 0, splits_ = 0;
  std::vector<uint64_t> sent_, received_;  // messages to and from each member
};

}  // namespace

Result<std::unique_ptr<ProcessGroup>> join_with_gloo(const LaunchEnvironment &launch, const ControlSettings &settings,
                                                     ControlChannel &channel) {
  Membership world{"world", launch.rank, std::vector<uint32_t>(launch.world_size), channel, settings.timeout};
  std::iota(world.members.begin(), world.members.end(), 0);
  std::shared_ptr<gloo::transport::Device> device;
  try {
    device = Gloo::createDeviceForHostname(launch.interface);
  } catch (const std::exception &problem) {
    return failure(ErrorKind::kUsage, fmt::format("gloo cannot use the address {}: {}", launch.interface, text_of(problem)));
  }
  auto group = std::make_unique<GlooGroup>(std::move(world), std::move(device));
  TRAINHOST_CHECK(group->connect());
  return group;
}

}  // namespace trainhost
