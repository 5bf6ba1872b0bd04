#include "plugin_host/kind_table.h"

#include <cstring>
#include <span>

#include <fmt/format.h>

#include "trainhost/kinds/dataset_mixer.h"
#include "trainhost/kinds/lr_scheduler.h"
#include "trainhost/kinds/model.h"
#include "trainhost/kinds/optimizer.h"
#include "trainhost/kinds/tokenizer.h"

namespace trainhost {
namespace {

struct Slot {
  size_t offset;
  std::string_view name;
};

struct Kind {
  std::string_view id;
  std::span<const Slot> required;
};

#define SLOT(table, name) \
  Slot { offsetof(table, name), #name }
constexpr Slot kTokenizer[] = {SLOT(th_tokenizer_api, create), SLOT(th_tokenizer_api, destroy), SLOT(th_tokenizer_api, describe),
                               SLOT(th_tokenizer_api, encode), SLOT(th_tokenizer_api, decode)};
constexpr Slot kDatasetMixer[] = {SLOT(th_dataset_mixer_api, create), SLOT(th_dataset_mixer_api, destroy), SLOT(th_dataset_mixer_api, plan),
                                  SLOT(th_dataset_mixer_api, counts)};
constexpr Slot kOptimizer[] = {SLOT(th_optimizer_api, create), SLOT(th_optimizer_api, destroy), SLOT(th_optimizer_api, granularity),
                               SLOT(th_optimizer_api, describe_states), SLOT(th_optimizer_api, update)};
constexpr Slot kLrScheduler[] = {SLOT(th_lr_scheduler_api, create), SLOT(th_lr_scheduler_api, destroy), SLOT(th_lr_scheduler_api, values)};
constexpr Slot kModel[] = {SLOT(th_model_api, create),         SLOT(th_model_api, destroy),    SLOT(th_model_api, parameter_count),
                           SLOT(th_model_api, parameter_info), SLOT(th_model_api, unit_count), SLOT(th_model_api, unit_info),
                           SLOT(th_model_api, forward),        SLOT(th_model_api, backward),   SLOT(th_model_api, release)};
#undef SLOT

// In the order of PluginKind.
constexpr Kind kKinds[] = {{TH_KIND_TOKENIZER, kTokenizer},
                           {TH_KIND_DATASET_MIXER, kDatasetMixer},
                           {TH_KIND_OPTIMIZER, kOptimizer},
                           {TH_KIND_LR_SCHEDULER, kLrScheduler},
                           {TH_KIND_MODEL, kModel}};

const Kind &kind_of(PluginKind kind) { return kKinds[static_cast<size_t>(kind)]; }

}  // namespace

std::string_view kind_id(PluginKind kind) { return kind_of(kind).id; }

Result<> check_table(const Manifest &manifest, const void *table) {
  const Kind &kind = kind_of(manifest.kind);
  const auto refuse = [&](const std::string &reason) { return failure(ErrorKind::kPluginContract, describe(manifest) + ": " + reason); };
  if (table == nullptr) return refuse(fmt::format("get_kind gives no table for \"{}\", though that is the kind in its manifest", kind.id));
  uint32_t struct_size;  // every table begins with it
  std::memcpy(&struct_size, table, sizeof struct_size);
  const size_t needed = kind.required.back().offset + sizeof(void *);
  if (struct_size < needed) {
    return refuse(fmt::format("its table \"{}\" has struct_size {}, at least {} is needed", kind.id, struct_size, needed));
  }
  for (const Slot &slot : kind.required) {
    const void *function = nullptr;
    std::memcpy(&function, static_cast<const char *>(table) + slot.offset, sizeof function);
    if (function == nullptr) return refuse(fmt::format("its table \"{}\" has null in the required slot \"{}\"", kind.id, slot.name));
  }
  return {};
}

}  // namespace trainhost
