#include "validate/trial.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "device/thread_pool.h"
#include "plugin_host/library.h"
#include "plugin_host/services/config.h"
#include "plugin_host/services/failure.h"
#include "plugin_host/services/rng.h"
#include "validate/guarded_memory.h"

namespace trainhost::validator {
namespace {

std::string_view view(th_string text) { return {text.data, text.length}; }

// The run that every trial's amounts are placed on: 100 steps of 8192 tokens in two phases.
Recipe tried_recipe() {
  Recipe recipe;
  recipe.run.tokens = 100 * 8192;
  recipe.training.batch = Batch::constant(8192);
  recipe.packing.sequence_length = 256;
  recipe.phases.resize(2);
  recipe.phases[0].name = "stable";
  recipe.phases[0].until = Amount{0.8, Amount::Unit::kShare, "80%", {}};
  recipe.phases[1].name = "annealing";
  return recipe;
}

// The size of th_host in each minor version.
constexpr std::array kHostSizes{sizeof(th_host), sizeof(th_host)};
static_assert(kHostSizes.size() == TRAINHOST_ABI_MINOR + 1 && kHostSizes.back() == sizeof(th_host));

// The table and, before it, whose it is. What comes behind the table belongs to nobody, and the table is only to be read.
class TriedHost {
 public:
  // minor: the version whose table it is.
  TriedHost(SharedRecord record, uint32_t minor)
      : record_(std::move(record)), memory_(sizeof(HostRecord *) + kHostSizes[minor], alignof(th_host)) {
    th_host whole{};
    whole.struct_size = static_cast<uint32_t>(kHostSizes[minor]);
    whole.abi_major = TRAINHOST_ABI_MAJOR;
    whole.abi_minor = minor;
    set_messages(whole);
    set_work(whole);
    set_config_slots(whole);
    HostRecord *const record_of_table = record_.get();
    std::memcpy(memory_.data(), &record_of_table, sizeof record_of_table);
    std::memcpy(static_cast<char *>(memory_.data()) + sizeof record_of_table, &whole, kHostSizes[minor]);
    memory_.allow_writing(false);
  }
  const th_host *table() const {
    return reinterpret_cast<const th_host *>(static_cast<const char *>(memory_.data()) + sizeof(HostRecord *));
  }
  HostRecord &record() const { return *record_; }

 private:
  static HostRecord &of(const th_host *host) {
    HostRecord *record;
    std::memcpy(&record, reinterpret_cast<const char *>(host) - sizeof record, sizeof record);
    return *record;
  }

  static void set_messages(th_host &table) {
    table.fail = [](const th_host *host, th_status code, th_string text) noexcept {
      ++of(host).texts;
      record_failure(host, code, view(text));
      return code;
    };
    table.log = [](const th_host *, int32_t, th_string) noexcept {};
    table.metric = [](const th_host *, th_string, double) noexcept {};
    table.progress = [](const th_host *, th_string, uint64_t, uint64_t) noexcept {};
  }

  static void set_work(th_host &table) {
    table.allocate = [](const th_host *host, size_t bytes, size_t alignment, void *) noexcept {
      return of(host).allocate(bytes, alignment);
    };
    table.deallocate = [](const th_host *host, void *memory, size_t bytes, void *) noexcept { of(host).deallocate(memory, bytes); };
    table.parallel_for = [](const th_host *, int64_t count, int64_t grain, void (*body)(void *, int64_t, int64_t), void *context) noexcept {
      trainhost::parallel_for(count, std::max<int64_t>(grain, 1), body, context);
    };
    table.cancelled = [](const th_host *host) noexcept -> int32_t { return of(host).cancelled ? 1 : 0; };
    table.get_extension = [](const th_host *host, th_string id) noexcept -> const void * {
      return of(host).extensions && view(id) == TH_EXT_RNG ? &rng_service() : nullptr;
    };
  }

  const SharedRecord record_;
  GuardedMemory memory_;
};

class TriedInstance final : public PluginInstance {
 public:
  TriedInstance(const Manifest &manifest, const void *table, th_config config, SharedRecord record)
      : manifest_(manifest),
        table_(table),
        host_(record, record->smallest ? static_cast<uint32_t>(manifest.minimum_abi_minor) : TRAINHOST_ABI_MINOR),
        config_(std::move(config)) {
    config_.host = host();
  }

  const th_host *host() const override { return host_.table(); }
  const th_config *config() const override { return &config_; }
  const void *table() const override { return table_; }
  const Manifest &manifest() const override { return manifest_; }

  Result<> check(th_status status, std::string_view call) const override {
    const std::string text = take_failure(host(), status);
    if (status == TH_OK) return {};
    host_.record().last_failure = status;
    if (status < TH_OK || status > TH_INTERNAL) return broken_contract(call, fmt::format("returned {}, which is no th_status", status));
    if (text.empty()) return broken_contract(call, fmt::format("returned status {} without a text by host->fail", status));
    return failure(ErrorKind::kPlugin, fmt::format("{}: failed with status {}: {}", call, status, text));
  }

  tl::unexpected<Error> broken_contract(std::string_view call, std::string_view found) const override {
    return broken(fmt::format("{}: {}", call, found));
  }

 private:
  const Manifest manifest_;
  const void *const table_;
  const TriedHost host_;
  th_config config_;
};

}  // namespace

tl::unexpected<Error> broken(std::string found) { return failure(ErrorKind::kPluginContract, std::move(found)); }

void *HostRecord::allocate(size_t bytes, size_t alignment) {
  const std::lock_guard lock(mutex_);
  if (++allocations == failing_allocation) return nullptr;
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    mistake_ = fmt::format("asked for memory with alignment {}, which is no power of two", alignment);
    return nullptr;
  }
  const size_t rounded = std::max(alignment, sizeof(void *));
  void *memory = std::aligned_alloc(rounded, (std::max<size_t>(bytes, 1) + rounded - 1) / rounded * rounded);
  if (memory == nullptr) return nullptr;
  blocks_[memory] = {bytes, alignment};
  in_use_ += bytes;
  peak_ = std::max(peak_, in_use_);
  return memory;
}

void HostRecord::deallocate(void *memory, size_t bytes) {
  if (memory == nullptr) return;
  const std::lock_guard lock(mutex_);
  const auto block = blocks_.find(memory);
  if (block == blocks_.end()) {
    mistake_ = "gave back memory that it had not been given, or twice";
    return;
  }
  if (block->second.first != bytes) mistake_ = fmt::format("gave back a block of {} bytes as one of {} bytes", block->second.first, bytes);
  in_use_ -= block->second.first;
  std::free(memory);
  blocks_.erase(block);
}

uint64_t HostRecord::bytes_in_use() const {
  const std::lock_guard lock(mutex_);
  return in_use_;
}

uint64_t HostRecord::peak_bytes() const {
  const std::lock_guard lock(mutex_);
  return peak_;
}

void HostRecord::restart_peak() {
  const std::lock_guard lock(mutex_);
  peak_ = in_use_;
}

Result<> HostRecord::check_memory() const {
  const std::lock_guard lock(mutex_);
  if (!mistake_.empty()) return broken(mistake_);
  if (!blocks_.empty()) return broken(fmt::format("kept {} bytes in {} blocks after its end", in_use_, blocks_.size()));
  return {};
}

Trial::Trial(const Manifest &manifest, const Parameters &parameters, uint64_t seed)
    : manifest_(manifest), parameters_(parameters), seed_(seed), axis_(tried_recipe()) {}

Result<std::unique_ptr<PluginInstance>> Trial::instance(SharedRecord record) const {
  TRAINHOST_TRY(auto config, make_config(manifest_, parameters_, manifest_.kind == PluginKind::kTokenizer ? nullptr : &axis_));
  TRAINHOST_TRY(const void *table, load_kind_table(manifest_));
  return std::make_unique<TriedInstance>(manifest_, table, std::move(config), std::move(record));
}

Parameters parameters_in_range(const Manifest &manifest) {
  Parameters parameters;
  for (const ParameterSpec &spec : manifest.parameters) {
    if (spec.default_value) continue;
    const double least = spec.minimum.value_or(0), most = spec.maximum.value_or(least + 1);
    const double middle = least + (most - least) / 100;
    ParameterValue value;
    switch (spec.type) {
      case ParameterType::kInteger:
        value = static_cast<int64_t>(spec.exclusive_minimum ? least + 1 : least);
        break;
      case ParameterType::kNumber:
        value = middle;
        break;
      case ParameterType::kBoolean:
        value = true;
        break;
      case ParameterType::kString:
        value = spec.choices.empty() ? std::string("text") : spec.choices.front();
        break;
      case ParameterType::kAmount:
        value = std::string("10%");
        break;
    }
    parameters[spec.name] = Parameter{.value = std::move(value), .given = true, .position = {}};
  }
  return parameters;
}

}  // namespace trainhost::validator
