#include "support/thread_group.h"

#include <algorithm>
#include <barrier>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace trainhost::test {
namespace {

// What the threads of a group share. Operations run at once, in the call; what is returned has nothing left to wait for.
struct Meeting {
  explicit Meeting(uint32_t members) : size(members), arrival(members), offers(members) {}

  struct Offer {
    const char *operation = nullptr;
    const void *data = nullptr;
    std::vector<size_t> cuts;
  };

  // Shows every rank what all ranks offer; `use` runs between two barriers, while all offers stand.
  void meet(uint32_t rank, Offer offer, const std::function<void(const std::vector<Offer> &)> &use) {
    offers[rank] = std::move(offer);
    arrival.arrive_and_wait();
    for (const Offer &other : offers) {
      if (std::string_view(other.operation) != offers[rank].operation || other.cuts != offers[rank].cuts) {
        std::fprintf(stderr, "ranks disagree: %s and %s, or other cuts\n", other.operation, offers[rank].operation);
        std::abort();
      }
    }
    use(offers);
    arrival.arrive_and_wait();
  }

  const uint32_t size;
  std::barrier<> arrival;
  std::vector<Offer> offers;

  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::pair<uint32_t, uint32_t>, std::deque<std::vector<float>>> messages;  // from, to
  std::map<uint32_t, std::shared_ptr<Meeting>> parts;                                // by colour, while a split is under way
};

class Done : public Pending {
 public:
  Result<> wait() override { return {}; }
};

class ThreadRank : public ProcessGroup {
 public:
  ThreadRank(std::shared_ptr<Meeting> meeting, uint32_t rank) : meeting_(std::move(meeting)), rank_(rank) {}
  uint32_t rank() const override { return rank_; }
  uint32_t size() const override { return meeting_->size; }

  std::unique_ptr<Pending> all_gather(std::span<float> whole, Cuts cuts) override {
    meeting_->meet(rank_, {"all_gather", whole.data(), {cuts.begin(), cuts.end()}}, [&](const auto &offers) {
      for (uint32_t from = 0; from < size(); ++from) {
        if (from == rank_) continue;
        const auto *source = static_cast<const float *>(offers[from].data);
        std::copy(source + cuts[from], source + cuts[from + 1], whole.begin() + static_cast<ptrdiff_t>(cuts[from]));
      }
    });
    return std::make_unique<Done>();
  }

  std::unique_ptr<Pending> exchange(std::span<const float> whole, Cuts cuts, std::span<float> received) override {
    meeting_->meet(rank_, {"exchange", whole.data(), {cuts.begin(), cuts.end()}}, [&](const auto &offers) {
      const size_t length = cuts[rank_ + 1] - cuts[rank_];
      for (uint32_t from = 0; from < size(); ++from) {
        const auto *source = static_cast<const float *>(offers[from].data) + cuts[rank_];
        std::copy(source, source + length, received.begin() + static_cast<ptrdiff_t>(from * length));
      }
    });
    return std::make_unique<Done>();
  }

  std::unique_ptr<Pending> send(std::span<const float> values, uint32_t to) override {
    const std::lock_guard lock(meeting_->mutex);
    meeting_->messages[{rank_, to}].emplace_back(values.begin(), values.end());
    meeting_->changed.notify_all();
    return std::make_unique<Done>();
  }

  std::unique_ptr<Pending> receive(std::span<float> values, uint32_t from) override {
    std::unique_lock lock(meeting_->mutex);
    auto &queue = meeting_->messages[{from, rank_}];
    meeting_->changed.wait(lock, [&] { return !queue.empty(); });
    std::copy(queue.front().begin(), queue.front().end(), values.begin());
    queue.pop_front();
    return std::make_unique<Done>();
  }

  Result<std::vector<double>> gather(std::span<const double> values) override {
    std::vector<double> all;
    meeting_->meet(rank_, {"gather of numbers", values.data(), {values.size()}}, [&](const auto &offers) {
      for (const auto &offer : offers) {
        const auto *source = static_cast<const double *>(offer.data);
        all.insert(all.end(), source, source + values.size());
      }
    });
    return all;
  }

  Result<std::vector<std::string>> gather(const std::string &text) override {
    std::vector<std::string> all;
    meeting_->meet(rank_, {"gather of texts", &text, {}}, [&](const auto &offers) {
      for (const auto &offer : offers) all.push_back(*static_cast<const std::string *>(offer.data));
    });
    return all;
  }

  Result<std::unique_ptr<ProcessGroup>> split(uint32_t colour) override {
    std::vector<uint32_t> members;
    std::shared_ptr<Meeting> part;
    meeting_->meet(rank_, {"split", &colour, {}}, [&](const auto &offers) {
      for (uint32_t other = 0; other < size(); ++other) {
        if (*static_cast<const uint32_t *>(offers[other].data) == colour) members.push_back(other);
      }
      const std::lock_guard lock(meeting_->mutex);
      auto &shared = meeting_->parts[colour];
      if (!shared) shared = std::make_shared<Meeting>(static_cast<uint32_t>(members.size()));
      part = shared;
    });
    if (rank_ == 0) meeting_->parts.clear();
    meeting_->arrival.arrive_and_wait();
    const auto place = std::find(members.begin(), members.end(), rank_) - members.begin();
    return std::make_unique<ThreadRank>(std::move(part), static_cast<uint32_t>(place));
  }

 private:
  std::shared_ptr<Meeting> meeting_;
  uint32_t rank_;
};

}  // namespace

void run_ranks(uint32_t size, const std::function<void(ProcessGroup &group)> &body) {
  const auto meeting = std::make_shared<Meeting>(size);
  std::vector<std::jthread> threads;
  for (uint32_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank group(meeting, rank);
      body(group);
    });
  }
}

}  // namespace trainhost::test
