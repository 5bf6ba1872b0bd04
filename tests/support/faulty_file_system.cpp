#include "support/faulty_file_system.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

#include "base/random.h"

namespace trainhost {
namespace {

std::string last_part(const std::string &path) { return path.substr(path.rfind('/') + 1); }

uint64_t next_random(uint64_t &seed) { return random_bits(seed++, 0, 0); }

tl::unexpected<Error> fault(ErrorKind kind, const std::string &call, const std::string &path, const std::string &reason) {
  return failure(kind, path + ": cannot " + call + ": " + reason);
}

}  // namespace

struct FaultyFileSystem::Node {
  using Entries = std::map<std::string, NodePointer>;
  bool directory = false;
  // A file: what a reader sees, and what is on the disk, which is as long as the last sync made it.
  std::string data, durable;
  size_t clean = 0;  // bytes that the system believes to be on the disk
  // A directory: what a reader sees, what is on the disk, and the changes in between, each of which reaches the disk whole or not at all.
  Entries entries, durable_entries;
  std::vector<std::function<void(Entries &)>> pending;

  void change(std::function<void(Entries &)> operation) {
    operation(entries);
    pending.push_back(std::move(operation));
  }
  void link(const std::string &name, const NodePointer &node) {
    change([=](Entries &names) { names[name] = node; });
  }
  void unlink(const std::string &name) {
    change([=, node = entries[name]](Entries &names) {
      if (const auto entry = names.find(name); entry != names.end() && entry->second == node) names.erase(entry);
    });
  }
  void move(const std::string &from, const std::string &to) {
    change([=, node = entries[from]](Entries &names) {
      if (const auto entry = names.find(from); entry != names.end() && entry->second == node) names.erase(entry);
      names[to] = node;
    });
  }
};

class FaultyFileSystem::Writer final : public WritableFile {
 public:
  Writer(FaultyFileSystem &files, std::string path, NodePointer node) : files_(files), path_(std::move(path)), node_(std::move(node)) {}

  Result<> append(std::string_view bytes) override {
    const auto held = files_.lock();
    auto met = files_.meet(ErrorKind::kCheckpointWrite, "be written", path_);
    std::string flipped(bytes);
    if (!met && files_.fault_ == Fault::kWrongBytes) {
      if (!bytes.empty()) flipped[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
      bytes = flipped;
      met = {};
    }
    if (!met && !files_.half()) return met;
    size_t size = met ? bytes.size() : bytes.size() / 2;
    const uint64_t room = files_.capacity_ - std::min(files_.capacity_, used(*files_.root_));
    const bool full = size > room;
    size = std::min<uint64_t>(size, room);
    node_->data += bytes.substr(0, size);
    if (full) return fault(ErrorKind::kCheckpointWrite, "be written", path_, "No space left on device");
    return met;
  }

  Result<> sync() override {
    const auto held = files_.lock();
    const auto met = files_.meet(ErrorKind::kCheckpointWrite, "be made durable", path_);
    if (!met && files_.off_) return met;
    if (met)
      node_->durable += node_->data.substr(node_->clean);
    else
      node_->durable.resize(node_->data.size(), '\0');  // lost, and a later sync will not know
    node_->clean = node_->data.size();
    return met;
  }

  Result<> close() override {
    const auto held = files_.lock();
    return files_.meet(ErrorKind::kCheckpointWrite, "be closed", path_);
  }

 private:
  FaultyFileSystem &files_;
  std::string path_;
  NodePointer node_;
};

class FaultyFileSystem::Reader final : public ReadableFile {
 public:
  Reader(FaultyFileSystem &files, std::string path, NodePointer node) : files_(files), path_(std::move(path)), node_(std::move(node)) {}
  uint64_t size() const override {
    const auto held = files_.lock();
    return node_->data.size();
  }

  Result<> read(uint64_t offset, std::span<std::byte> out) override {
    const auto held = files_.lock();
    const auto met = files_.meet(ErrorKind::kData, "be read", path_);
    if (!met && files_.fault_ != Fault::kWrongBytes) return met;
    if (offset > node_->data.size() || out.size() > node_->data.size() - offset)
      return fault(ErrorKind::kData, "be read", path_, "it ends before");
    if (!out.empty()) std::memcpy(out.data(), node_->data.data() + offset, out.size());
    if (!met && !out.empty()) out[out.size() / 2] ^= std::byte{4};
    return {};
  }

 private:
  FaultyFileSystem &files_;
  std::string path_;
  NodePointer node_;
};

FaultyFileSystem::FaultyFileSystem() : mutex_(std::make_shared<std::recursive_mutex>()), root_(std::make_shared<Node>()) {
  root_->directory = true;
}
FaultyFileSystem::FaultyFileSystem(const FaultyFileSystem &disk) : mutex_(disk.mutex_), root_(disk.root_) {}
FaultyFileSystem::~FaultyFileSystem() = default;

void FaultyFileSystem::fail(uint64_t call, Fault fault, uint64_t times, std::string reason) {
  calls_ = 0;
  failed_ = false;
  fail_at_ = call;
  fault_ = fault;
  times_ = fault == Fault::kPowerCut ? kForEver : times;
  reason_ = std::move(reason);
}

void FaultyFileSystem::restart(Survival survival, uint64_t seed) {
  if (survival != Survival::kEverything) survive(*root_, survival, seed);
  off_ = false;
  fail(0, Fault::kError);
}

void FaultyFileSystem::set_capacity(uint64_t capacity, uint64_t reported) {
  capacity_ = capacity;
  reported_free_ = reported;
}

Result<> FaultyFileSystem::meet(ErrorKind kind, const std::string &call, const std::string &path) {
  ++calls_;
  if (fail_at_ == 0 || calls_ < fail_at_ || calls_ - fail_at_ >= times_) return {};
  if (!failed_) failed_call_ = path + " " + call;
  failed_ = true;
  off_ = fault_ == Fault::kPowerCut;
  return fault(kind, call, path, off_ ? "the power is off" : reason_);
}

FaultyFileSystem::NodePointer FaultyFileSystem::find(const std::string &path) const {
  NodePointer node = root_;
  for (size_t begin = 0; begin < path.size() && node;) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    if (!name.empty() && name != ".") {
      const auto entry = node->entries.find(name);
      node = entry == node->entries.end() ? nullptr : entry->second;
    }
    begin = end + 1;
  }
  return node;
}

FaultyFileSystem::NodePointer FaultyFileSystem::find_parent(const std::string &path) const {
  const size_t slash = path.rfind('/');
  return find(slash == std::string::npos ? "" : path.substr(0, slash));
}

Result<std::unique_ptr<WritableFile>> FaultyFileSystem::create(const std::string &path) {
  const auto held = lock();
  TRAINHOST_CHECK(meet(ErrorKind::kCheckpointWrite, "be created", path));
  const NodePointer parent = find_parent(path);
  if (!parent || !parent->directory) return fault(ErrorKind::kCheckpointWrite, "be created", path, "No such file or directory");
  auto node = std::make_shared<Node>();
  parent->link(last_part(path), node);
  return std::make_unique<Writer>(*this, path, node);
}

Result<> FaultyFileSystem::create_directories(const std::string &path) {
  const auto held = lock();
  TRAINHOST_CHECK(meet(ErrorKind::kCheckpointWrite, "be created", path));
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    if (find(part)) continue;
    auto node = std::make_shared<Node>();
    node->directory = true;
    find_parent(part)->link(last_part(part), node);
  }
  return {};
}

Result<> FaultyFileSystem::rename(const std::string &from, const std::string &to) {
  const auto held = lock();
  TRAINHOST_CHECK(meet(ErrorKind::kCheckpointWrite, "take the place of " + from, to));
  const NodePointer node = find(from), standing = find(to), parent = find_parent(from);
  if (!node || parent != find_parent(to))
    return fault(ErrorKind::kCheckpointWrite, "take the place of " + from, to, "No such file or directory");
  if (standing && standing->directory && !standing->entries.empty()) {
    return fault(ErrorKind::kCheckpointWrite, "take the place of " + from, to, "Directory not empty");
  }
  parent->move(last_part(from), last_part(to));
  return {};
}

Result<> FaultyFileSystem::sync_directory(const std::string &path) {
  const auto held = lock();
  const auto met = meet(ErrorKind::kCheckpointWrite, "be made durable", path);
  const NodePointer node = find(path);
  if (!met && !off_ && node) node->pending.clear();  // lost, and a later sync will not know
  if (!met) return met;
  if (!node || !node->directory) return fault(ErrorKind::kCheckpointWrite, "be opened", path, "No such file or directory");
  for (const auto &operation : node->pending) operation(node->durable_entries);
  node->pending.clear();
  return {};
}

uint64_t FaultyFileSystem::used(const Node &node) {
  uint64_t sum = node.data.size();
  for (const auto &[name, entry] : node.entries) sum += used(*entry);
  return sum;
}

void FaultyFileSystem::unlink_all(Node &directory) {
  while (!directory.entries.empty()) {
    const auto [name, node] = *directory.entries.begin();
    unlink_all(*node);
    directory.unlink(name);
  }
}

Result<> FaultyFileSystem::remove_all(const std::string &path) {
  const auto held = lock();
  const auto met = meet(ErrorKind::kCheckpointWrite, "be removed", path);
  const NodePointer node = find(path);
  if (!met && half() && node && !node->entries.empty()) node->unlink(node->entries.begin()->first);
  if (!met || !node) return met;
  unlink_all(*node);
  find_parent(path)->unlink(last_part(path));
  return {};
}

Result<std::unique_ptr<ReadableFile>> FaultyFileSystem::open(const std::string &path) {
  const auto held = lock();
  TRAINHOST_CHECK(meet(ErrorKind::kData, "be opened", path));
  const NodePointer node = find(path);
  if (!node) return fault(ErrorKind::kData, "be opened", path, "No such file or directory");
  if (node->directory) return failure(ErrorKind::kData, path + ": is not a regular file");
  return std::make_unique<Reader>(*this, path, node);
}

Result<std::string> FaultyFileSystem::read(const std::string &path) {
  TRAINHOST_TRY(const auto file, open(path));
  std::string contents(file->size(), '\0');
  TRAINHOST_CHECK(file->read(0, std::as_writable_bytes(std::span(contents))));
  return contents;
}

Result<std::vector<std::string>> FaultyFileSystem::list(const std::string &path) {
  const auto held = lock();
  TRAINHOST_CHECK(meet(ErrorKind::kData, "be listed", path));
  const NodePointer node = find(path);
  if (!node || !node->directory) return fault(ErrorKind::kData, "be listed", path, "No such file or directory");
  std::vector<std::string> names;
  for (const auto &[name, entry] : node->entries) names.push_back(name);
  return names;
}

bool FaultyFileSystem::exists(const std::string &path) {
  const auto held = lock();
  return find(path) != nullptr;
}

bool FaultyFileSystem::is_directory(const std::string &path) {
  const auto held = lock();
  const NodePointer node = find(path);
  return node && node->directory;
}

Result<uint64_t> FaultyFileSystem::free_bytes(const std::string &path) {
  const auto held = lock();
  TRAINHOST_CHECK(meet(ErrorKind::kData, "be asked for its free space", path));
  return reported_free_;
}

void FaultyFileSystem::survive(Node &node, Survival survival, uint64_t &seed) {
  if (survival == Survival::kTorn) {
    // A part of the unsynced bytes, with holes where blocks had not been written yet; a part of the changes of names.
    const size_t synced = node.durable.size(), unsynced = node.data.size() - node.clean;
    const size_t kept = unsynced == 0 ? 0 : next_random(seed) % (unsynced + 1);
    node.durable += node.data.substr(node.clean, kept);
    constexpr size_t kBlock = 64;
    for (size_t block = synced; block < node.durable.size(); block += kBlock) {
      if (next_random(seed) % 4 == 0) std::memset(node.durable.data() + block, 0, std::min(kBlock, node.durable.size() - block));
    }
    for (const auto &operation : node.pending) {
      if (next_random(seed) % 2 == 0) operation(node.durable_entries);
    }
  }
  node.pending.clear();
  node.data = node.durable;
  node.clean = node.durable.size();
  node.entries = node.durable_entries;
  for (const auto &[name, entry] : node.entries) survive(*entry, survival, seed);
}

}  // namespace trainhost
