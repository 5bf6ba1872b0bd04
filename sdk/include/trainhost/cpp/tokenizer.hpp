// A tokenizer as a class:
//   Tokenizer(const Host &, const Config &, std::span<const uint8_t> state);
//   void describe(th_tokenizer_info &out) const;
//   void encode(std::span<const uint8_t> text, const th_sink *ids) const;
//   void decode(std::span<const uint32_t> ids, const th_sink *bytes) const;
//   static const void *extension(std::string_view id);                       // null: none
#pragma once

#include "../kinds/tokenizer.h"
#include "plugin.hpp"

namespace trainhost::sdk {
inline namespace [[gnu::visibility("hidden")]] v1_0 {

  template <class Tokenizer>
  constexpr th_tokenizer_api tokenizer_table = {
      .struct_size = sizeof(th_tokenizer_api),
      .reserved = 0,
      .create = [](const th_host *host, const th_config *config, th_bytes state, th_tokenizer **out) -> th_status {
        return Instance<Tokenizer>::create(host, out, Host(host), Config(host, config), view(state));
      },
      .destroy = [](th_tokenizer *self) { Instance<Tokenizer>::destroy(self); },
      .describe = [](const th_tokenizer *self, th_tokenizer_info *out) -> th_status {
        auto *instance = Instance<Tokenizer>::of(self);
        return guard(instance->host, [&] { instance->object.describe(*out); });
      },
      .encode = [](const th_tokenizer *self, th_bytes text, const th_sink *ids) -> th_status {
        auto *instance = Instance<Tokenizer>::of(self);
        return guard(instance->host, [&] { instance->object.encode(view(text), ids); });
      },
      .decode = [](const th_tokenizer *self, const uint32_t *ids, size_t count, const th_sink *bytes) -> th_status {
        auto *instance = Instance<Tokenizer>::of(self);
        return guard(instance->host, [&] { instance->object.decode(std::span(ids, count), bytes); });
      },
      .get_extension = [](const th_tokenizer *, th_string id) -> const void * { return Tokenizer::extension(view(id)); },
  };

}  // namespace v1_0
}  // namespace trainhost::sdk
