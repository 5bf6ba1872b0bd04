// What the host finds in this library.
#include <cstdlib>

#include <c10/util/Logging.h>

#include "collectives/c10d/agent_store.h"
#include "collectives/c10d/gloo_group.h"
#include "collectives/c10d_module.h"

extern "C" __attribute__((visibility("default"))) const trainhost::C10dModule *trainhost_c10d_module() {
  // c10d logs what it throws, with stack traces, before the host can say it in one sentence.
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  static constexpr trainhost::C10dModule kModule{trainhost::join_with_gloo, trainhost::open_torchrun_store};
  return &kModule;
}
