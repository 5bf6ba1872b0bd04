// The tables of functions that plugins hand over, checked before any slot is called.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"
#include "plugin_host/manifest.h"

namespace trainhost {

// "th.kind.optimizer/1", ...
std::string_view kind_id(PluginKind kind);

// Whether the table is there, long enough for the slots that its kind requires, with none of them null.
// Fails with kPluginContract naming the plugin and the slot.
Result<> check_table(const Manifest &manifest, const void *table);

// A slot that the plugin may leave out: null when its table ends before it. optional_slot(api, &th_model_api::get_extension).
template <class Table, class Slot>
Slot optional_slot(const Table *table, Slot Table::*slot) {
  const auto *end = reinterpret_cast<const char *>(&(table->*slot)) + sizeof(Slot);
  return end - reinterpret_cast<const char *>(table) <= static_cast<ptrdiff_t>(table->struct_size) ? table->*slot : nullptr;
}

}  // namespace trainhost
