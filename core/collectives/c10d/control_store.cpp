#include "collectives/c10d/control_store.h"

namespace trainhost {
namespace {

template <class Value>
Value value_of(Result<Value> result) {
  if (!result) C10_THROW_ERROR(DistStoreError, result.error().message);
  return *std::move(result);
}

[[noreturn]] void not_offered(const char *operation) {
  C10_THROW_ERROR(NotImplementedError, std::string("the control channel's store does not offer ") + operation);
}

}  // namespace

c10::intrusive_ptr<c10d::Store> ControlStore::clone() { return c10::make_intrusive<ControlStore>(channel_, prefix_); }

void ControlStore::set(const std::string &key, const std::vector<uint8_t> &value) {
  const auto result = channel_.set(prefix_ + key, std::string(value.begin(), value.end()));
  if (!result) C10_THROW_ERROR(DistStoreError, result.error().message);
}

std::vector<uint8_t> ControlStore::get(const std::string &key) {
  const std::string value = value_of(channel_.get(prefix_ + key));
  return {value.begin(), value.end()};
}

bool ControlStore::check(const std::vector<std::string> &keys) {
  for (const std::string &key : keys) {
    if (!value_of(channel_.look(prefix_ + key))) return false;
  }
  return true;
}

void ControlStore::wait(const std::vector<std::string> &keys) {
  for (const std::string &key : keys) get(key);
}

void ControlStore::wait(const std::vector<std::string> &keys, const std::chrono::milliseconds &) { wait(keys); }

int64_t ControlStore::add(const std::string &, int64_t) { not_offered("add"); }
bool ControlStore::deleteKey(const std::string &) { not_offered("deleteKey"); }
int64_t ControlStore::getNumKeys() { not_offered("getNumKeys"); }

}  // namespace trainhost
