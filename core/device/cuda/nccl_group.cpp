#include "device/cuda/nccl_group.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <deque>
#include <exception>
#include <numeric>
#include <thread>

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "collectives/c10d/control_store.h"
#include "collectives/c10d/membership.h"
#include "collectives/c10d/thrown_failure.h"
#include "device/cuda/borrowed_tensor.h"
#include "trainhost/tensor.h"

namespace trainhost {
namespace {

using Work = c10::intrusive_ptr<c10d::Work>;
using Nccl = c10d::ProcessGroupNCCL;

constexpr std::chrono::seconds kPatience{5};  // for what is under way when the group ends

// Each is a c10d group of its own. NCCL does a communicator's operations one after the other, and a message blocks those behind it until
// the other rank receives it; so messages must not stand in the way of collectives, nor of those in the other direction: with 1F1B a stage
// sends the next activation before it receives the gradient that the other stage must send first.
enum Lane : size_t { kCollectives, kUpward, kDownward, kLanes };
constexpr std::array<const char *, kLanes> kLaneNames{"collectives", "up", "down"};

class NcclGroup : public ProcessGroup {
 public:
  NcclGroup(c10::cuda::CUDAStream stream, std::unique_ptr<ProcessGroup> host, Membership membership)
      : stream_(stream), host_(std::move(host)), membership_(std::move(membership)) {}
  ~NcclGroup() override;

  // Lets NCCL connect all members now, so that what is wrong with it shows; otherwise it does so at the first collective. Some groups never
  // have one.
  Result<> connect();

  uint32_t rank() const override { return membership_.place; }
  uint32_t size() const override { return static_cast<uint32_t>(membership_.members.size()); }
  std::unique_ptr<Pending> all_gather(std::span<float> whole, Cuts cuts) override;
  std::unique_ptr<Pending> exchange(std::span<const float> whole, Cuts cuts, std::span<float> received) override;
  std::unique_ptr<Pending> send(std::span<const float> values, uint32_t to) override;
  std::unique_ptr<Pending> receive(std::span<float> values, uint32_t from) override;
  Result<std::vector<double>> gather(std::span<const double> values) override;
  Result<std::vector<std::string>> gather(const std::string &text) override;
  Result<std::unique_ptr<ProcessGroup>> split(uint32_t colour) override;

 private:
  class Enqueued;
  struct UnderWay {
    Operation operation;
    Work work;
  };

  Nccl &nccl(Lane lane);
  at::Tensor tensor(const float *values, size_t count) const {
    return borrowed_tensor(values, {static_cast<int64_t>(count)}, at::kFloat, stream_.device());
  }
  Operation next(const char *name) { return {membership_.name, name, ++operations_}; }
  Work gather_pieces(std::span<float> whole, Cuts cuts);
  Work exchange_pieces(std::span<const float> whole, Cuts cuts, std::span<float> received);

  template <class Begin>
  std::unique_ptr<Pending> enqueue(Operation operation, std::vector<uint32_t> others, Begin begin);
  void take_finished();
  bool failed();
  Result<> sound();

  const c10::cuda::CUDAStream stream_;
  const std::unique_ptr<ProcessGroup> host_;
  const Membership membership_;
  std::array<c10::intrusive_ptr<Nccl>, kLanes> lanes_;
  std::deque<UnderWay> under_way_;  // in the order of their beginning
  std::string problem_;             // what ended the oldest of them, when it failed
  uint64_t operations_ = 0, splits_ = 0;
  std::vector<uint64_t> sent_ = std::vector<uint64_t>(size()), received_ = std::vector<uint64_t>(size());
};

// An operation in NCCL's stream.
class NcclGroup::Enqueued : public Pending {
 public:
  Enqueued(NcclGroup &group, Operation operation, std::vector<uint32_t> others)
      : group_(group), operation_(std::move(operation)), others_(std::move(others)) {}

  template <class Begin>
  void begin(Begin begin) try {
    const c10::cuda::CUDAStreamGuard guard(group_.stream_);
    work_ = begin();
  } catch (const std::exception &problem) {
    problem_ = first_line_of(problem);
  }

  Result<> wait() override {
    group_.membership_.channel.report_awaited(operation_);
    try {
      const c10::cuda::CUDAStreamGuard guard(group_.stream_);
      if (work_ && problem_.empty()) work_->wait();
    } catch (const std::exception &problem) {
      problem_ = first_line_of(problem);
    }
    if (!problem_.empty()) return unfinished(group_.membership_, operation_, others_, problem_);
    if (!work_) group_.membership_.channel.report_done(operation_);
    return group_.sound();
  }

  const Work &work() const { return work_; }

 private:
  NcclGroup &group_;
  const Operation operation_;
  const std::vector<uint32_t> others_;
  Work work_;  // null: there is nothing to move
  std::string problem_;
};

NcclGroup::~NcclGroup() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (take_finished(); !under_way_.empty() && !failed() && std::chrono::steady_clock::now() < deadline; take_finished()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const bool orderly = under_way_.empty() && !failed();
  under_way_.clear();
  for (auto &lane : lanes_) {
    if (!lane) continue;
    try {
      orderly ? lane->shutdown() : lane->abort();
    } catch (const std::exception &) {  // c10d has logged it, and the group is over
    }
    lane.reset();
  }
}

Nccl &NcclGroup::nccl(Lane lane) {
  if (lanes_[lane]) return *lanes_[lane];
  auto options = Nccl::Options::create(/*is_high_priority_stream=*/true);
  options->timeout = membership_.timeout;
  options->config.blocking = 1;
  options->global_ranks_in_group.assign(membership_.members.begin(), membership_.members.end());
  auto store = c10::make_intrusive<ControlStore>(membership_.channel, fmt::format("{}/{}/", membership_.name, kLaneNames[lane]));
  lanes_[lane] = c10::make_intrusive<Nccl>(std::move(store), static_cast<int>(rank()), static_cast<int>(size()), std::move(options));
  lanes_[lane]->setBoundDeviceId(stream_.device());
  return *lanes_[lane];
}

Result<> NcclGroup::connect() {
  const double present[] = {1};
  TRAINHOST_CHECK(host_->gather(present));  // NCCL would wait for a missing rank without naming it
  const Operation operation{membership_.name, "join", 0};
  membership_.channel.report_awaited(operation);
  try {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    nccl(kCollectives).eagerConnectSingleDevice(stream_.device());
  } catch (const std::exception &problem) {
    return unfinished(membership_, operation, membership_.others(), first_line_of(problem));
  }
  membership_.channel.report_done(operation);
  return {};
}

std::unique_ptr<Pending> NcclGroup::all_gather(std::span<float> whole, Cuts cuts) {
  return enqueue(next("all_gather"), membership_.others(), [&] { return gather_pieces(whole, cuts); });
}

Work NcclGroup::gather_pieces(std::span<float> whole, Cuts cuts) {
  if (cuts.front() == cuts.back()) return {};
  const size_t length = cuts[rank() + 1] - cuts[rank()];
  const auto piece = [&](uint32_t of) { return tensor(whole.data() + cuts[of], cuts[of + 1] - cuts[of]); };
  bool equal = true;
  for (uint32_t place = 0; place < size(); ++place) equal = equal && cuts[place + 1] - cuts[place] == length;
  if (equal) {
    at::Tensor all = tensor(whole.data() + cuts.front(), cuts.back() - cuts.front()), own = piece(rank());
    return nccl(kCollectives)._allgather_base(all, own);
  }
  nccl(kCollectives).startCoalescing();
  for (uint32_t place = 0; place < size(); ++place) {
    if (cuts[place] == cuts[place + 1]) continue;
    c10d::BroadcastOptions options;
    options.rootRank = place;
    std::vector<at::Tensor> values{piece(place)};
    nccl(kCollectives).broadcast(values, options);
  }
  return nccl(kCollectives).endCoalescing();
}

std::unique_ptr<Pending> NcclGroup::exchange(std::span<const float> whole, Cuts cuts, std::span<float> received) {
  return enqueue(next("exchange"), membership_.others(), [&] { return exchange_pieces(whole, cuts, received); });
}

Work NcclGroup::exchange_pieces(std::span<const float> whole, Cuts cuts, std::span<float> received) {
  if (cuts.front() == cuts.back()) return {};
  const size_t length = cuts[rank() + 1] - cuts[rank()];
  std::vector<int64_t> taken(size(), static_cast<int64_t>(length)), given(size());
  for (uint32_t place = 0; place < size(); ++place) given[place] = static_cast<int64_t>(cuts[place + 1] - cuts[place]);
  at::Tensor to = tensor(received.data(), size() * length), from = tensor(whole.data() + cuts.front(), cuts.back() - cuts.front());
  return nccl(kCollectives).alltoall_base(to, from, taken, given);
}

std::unique_ptr<Pending> NcclGroup::send(std::span<const float> values, uint32_t to) {
  const uint32_t other = membership_.members[to];
  return enqueue({membership_.name, fmt::format("send {} to rank {}", ++sent_[to], other), 0}, {other}, [&] {
    std::vector<at::Tensor> message{tensor(values.data(), values.size())};
    return values.empty() ? Work() : nccl(to > rank() ? kUpward : kDownward).send(message, static_cast<int>(to), 0);
  });
}

std::unique_ptr<Pending> NcclGroup::receive(std::span<float> values, uint32_t from) {
  const uint32_t other = membership_.members[from];
  return enqueue({membership_.name, fmt::format("receive {} from rank {}", ++received_[from], other), 0}, {other}, [&] {
    std::vector<at::Tensor> message{tensor(values.data(), values.size())};
    return values.empty() ? Work() : nccl(from < rank() ? kUpward : kDownward).recv(message, static_cast<int>(from), 0);
  });
}

Result<std::vector<double>> NcclGroup::gather(std::span<const double> values) {
  TRAINHOST_CHECK(sound());
  return host_->gather(values);
}

Result<std::vector<std::string>> NcclGroup::gather(const std::string &text) {
  TRAINHOST_CHECK(sound());
  return host_->gather(text);
}

Result<std::unique_ptr<ProcessGroup>> NcclGroup::split(uint32_t colour) {
  const double own[] = {static_cast<double>(colour)};
  TRAINHOST_TRY(const auto colours, gather(own));
  TRAINHOST_TRY(auto host, host_->split(colour));
  return std::make_unique<NcclGroup>(stream_, std::move(host), part_of(membership_, splits_++, colours));
}

template <class Begin>
std::unique_ptr<Pending> NcclGroup::enqueue(Operation operation, std::vector<uint32_t> others, Begin begin) {
  take_finished();
  membership_.channel.report_begun(operation);
  auto pending = std::make_unique<Enqueued>(*this, operation, std::move(others));
  pending->begin(begin);
  if (pending->work()) under_way_.push_back({std::move(operation), pending->work()});
  return pending;
}

void NcclGroup::take_finished() {
  try {
    while (!under_way_.empty() && under_way_.front().work->isCompleted()) {
      if (const auto exception = under_way_.front().work->exception()) std::rethrow_exception(exception);
      membership_.channel.report_done(under_way_.front().operation);
      under_way_.pop_front();
    }
  } catch (const std::exception &problem) {  // NCCL's, or the GPU's as an earlier operation left it
    if (problem_.empty()) problem_ = first_line_of(problem);
  }
}

bool NcclGroup::failed() {
  return !problem_.empty() ||
         std::ranges::any_of(lanes_, [](const auto &lane) { return lane && lane->getError() != c10d::ErrorType::SUCCESS; });
}

// The oldest operation that is not done is the one that failed.
Result<> NcclGroup::sound() {
  take_finished();
  if (!failed()) return {};
  const Operation none{membership_.name, "an operation", 0};
  const bool late = std::ranges::any_of(lanes_, [](const auto &lane) { return lane && lane->getError() == c10d::ErrorType::TIMEOUT; });
  const std::string reason = late               ? fmt::format("it was not done after {} s", membership_.timeout.count() / 1000.0)
                             : problem_.empty() ? "NCCL reports an error"
                                                : problem_;
  return unfinished(membership_, under_way_.empty() ? none : under_way_.front().operation, membership_.others(), reason);
}

}  // namespace

Result<std::unique_ptr<ProcessGroup>> join_with_nccl(Device &device, std::unique_ptr<ProcessGroup> host, const ControlSettings &settings,
                                                     ControlChannel &channel, const char *name) {
  if (device.type() != TH_DEVICE_CUDA) return failure(ErrorKind::kInternal, "NCCL joins GPUs only");
  const auto stream =
      c10::cuda::getStreamFromExternal(static_cast<cudaStream_t>(device.stream()), static_cast<c10::DeviceIndex>(device.index()));
  Membership members{name, host->rank(), std::vector<uint32_t>(host->size()), channel, settings.timeout};
  std::iota(members.members.begin(), members.members.end(), 0);
  auto group = std::make_unique<NcclGroup>(stream, std::move(host), std::move(members));
  TRAINHOST_CHECK(group->connect());
  return group;
}

}  // namespace trainhost
