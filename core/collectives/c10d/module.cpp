// What the host finds in this library.
#include "collectives/c10d/agent_store.h"
#include "collectives/c10d/gloo_group.h"
#include "collectives/c10d_module.h"

extern "C" __attribute__((visibility("default"))) const trainhost::C10dModule *trainhost_c10d_module() {
  static constexpr trainhost::C10dModule kModule{trainhost::join_with_gloo, trainhost::open_torchrun_store};
  return &kModule;
}
