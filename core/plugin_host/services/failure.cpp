#include "plugin_host/services/failure.h"

#include <utility>

namespace trainhost {
namespace {

struct RecordedFailure {
  const th_host *host = nullptr;  // whose
  th_status code = TH_OK;
  std::string text;
};

RecordedFailure &record() {
  thread_local RecordedFailure failure;
  return failure;
}

}  // namespace

void record_failure(const th_host *host, th_status code, std::string_view text) { record() = {host, code, std::string(text)}; }

std::string take_failure(const th_host *host, th_status code) {
  RecordedFailure failure = std::exchange(record(), {});
  return failure.host == host && failure.code == code ? std::move(failure.text) : std::string();
}

std::string take_failure(const th_host *host) { return take_failure(host, record().code); }

}  // namespace trainhost
