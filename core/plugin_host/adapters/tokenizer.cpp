#include "plugin_host/adapters/tokenizer.h"

#include <algorithm>

#include <fmt/format.h>

#include "plugin_host/adapters/extension.h"
#include "plugin_host/plugin_call.h"

namespace trainhost {
namespace {

const th_tokenizer_api *api_of(const PluginInstance &plugin) { return static_cast<const th_tokenizer_api *>(plugin.table()); }

Result<const th_tokenizer_train *> training_of(const PluginInstance &plugin) {
  return find_extension(plugin, api_of(plugin), static_cast<const th_tokenizer *>(nullptr), TH_EXT_TOKENIZER_TRAIN,
                        &th_tokenizer_train::train);
}

th_bytes bytes_of(std::string_view text) { return {reinterpret_cast<const uint8_t *>(text.data()), text.size()}; }

// Hands the host's documents to the plugin and keeps the host's own failure, which outweighs what the plugin makes of it.
struct Documents {
  const Tokenizer::NextDocument &next;
  std::optional<Error> error = std::nullopt;

  static th_status give(void *context, th_bytes *document) noexcept {
    auto &self = *static_cast<Documents *>(context);
    PluginCall::show_life();
    auto text = self.next();
    if (!text) {
      self.error = std::move(text).error();
      return TH_CANCELLED;
    }
    *document = *text ? bytes_of(**text) : th_bytes{nullptr, 0};
    if (*text && document->data == nullptr) document->data = reinterpret_cast<const uint8_t *>("");  // an empty document is not the end
    return TH_OK;
  }
};

// Items of a sink that end in a container of the host.
template <class Container>
th_status append_items(void *context, const void *items, size_t count) noexcept {
  using Item = typename Container::value_type;
  auto &container = *static_cast<Container *>(context);
  const auto *first = static_cast<const Item *>(items);
  container.insert(container.end(), first, first + count);
  return TH_OK;
}

std::string hexadecimal(std::span<const uint8_t> bytes) {
  std::string text;
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

Result<bool> Tokenizer::is_trainable(const PluginInstance &plugin) {
  TRAINHOST_TRY(const auto *training, training_of(plugin));
  return training != nullptr;
}

Result<std::string> Tokenizer::train(const PluginInstance &plugin, const NextDocument &next, uint64_t total_bytes) {
  TRAINHOST_TRY(const auto *training, training_of(plugin));
  if (training == nullptr) return plugin.broken_contract("train", "it has no extension \"" TH_EXT_TOKENIZER_TRAIN "\"");
  Documents documents{next};
  const th_document_source source{&documents, Documents::give, total_bytes};
  std::string state;
  const th_sink sink{&state, append_items<std::string>};
  const PluginCall call(plugin.manifest(), "train");
  const th_status status = training->train(plugin.host(), plugin.config(), &source, &sink);
  if (documents.error) return tl::unexpected(*documents.error);
  TRAINHOST_CHECK(plugin.check(status, "train"));
  return state;
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(std::unique_ptr<PluginInstance> plugin, std::string_view state) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  tokenizer->plugin_ = std::move(plugin);
  const PluginInstance &instance = *tokenizer->plugin_;
  tokenizer->api_ = api_of(instance);
  const PluginCall call(instance.manifest(), "create");
  TRAINHOST_CHECK(
      instance.check(tokenizer->api_->create(instance.host(), instance.config(), bytes_of(state), &tokenizer->self_), "create"));
  if (tokenizer->self_ == nullptr) return instance.broken_contract("create", "succeeded without giving an instance");

  th_tokenizer_info info{.struct_size = sizeof(th_tokenizer_info), .vocabulary_size = 0, .end_id = -1, .reserved = 0, .fingerprint = {}};
  const PluginCall describing(instance.manifest(), "describe");
  TRAINHOST_CHECK(instance.check(tokenizer->api_->describe(tokenizer->self_, &info), "describe"));
  if (info.vocabulary_size == 0 || info.vocabulary_size > INT32_MAX) {
    return instance.broken_contract("describe", fmt::format("vocabulary_size is {}, expected 1 to {}", info.vocabulary_size, INT32_MAX));
  }
  if (info.end_id < -1 || info.end_id >= static_cast<int64_t>(info.vocabulary_size)) {
    return instance.broken_contract("describe",
                                    fmt::format("end_id is {}, expected -1 or an id below {}", info.end_id, info.vocabulary_size));
  }
  tokenizer->vocabulary_size_ = info.vocabulary_size;
  if (info.end_id >= 0) tokenizer->end_id_ = static_cast<uint32_t>(info.end_id);
  tokenizer->fingerprint_ = hexadecimal(info.fingerprint);
  return tokenizer;
}

Tokenizer::~Tokenizer() {
  if (self_ == nullptr) return;
  const PluginCall call(plugin_->manifest(), "destroy");
  api_->destroy(self_);
}

Result<> Tokenizer::encode(std::string_view text, std::vector<uint32_t> &ids) const {
  const size_t before = ids.size();
  const th_sink sink{&ids, append_items<std::vector<uint32_t>>};
  const PluginCall call(plugin_->manifest(), "encode");
  auto result = plugin_->check(api_->encode(self_, bytes_of(text), &sink), "encode");
  const auto wrong =
      std::find_if(ids.begin() + static_cast<ptrdiff_t>(before), ids.end(), [&](uint32_t id) { return id >= vocabulary_size_; });
  if (result && wrong != ids.end()) {
    result = plugin_->broken_contract("encode", fmt::format("gave id {}, the vocabulary has {} ids", *wrong, vocabulary_size_));
  }
  if (!result) ids.resize(before);
  return result;
}

Result<std::string> Tokenizer::decode(std::span<const uint32_t> ids) const {
  std::string bytes;
  const th_sink sink{&bytes, append_items<std::string>};
  const PluginCall call(plugin_->manifest(), "decode");
  TRAINHOST_CHECK(plugin_->check(api_->decode(self_, ids.data(), ids.size(), &sink), "decode"));
  return bytes;
}

}  // namespace trainhost
