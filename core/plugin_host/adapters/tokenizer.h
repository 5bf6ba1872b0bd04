// A tokenizer plugin as an object.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugin_host/instance.h"
#include "trainhost/ext/tokenizer_train.h"

namespace trainhost {

class Tokenizer {
 public:
  // Gives the next document of the corpus, or nothing after the last. The view is valid until the next call.
  using NextDocument = std::function<Result<std::optional<std::string_view>>()>;

  // Whether the plugin makes its state from text.
  static Result<bool> is_trainable(const PluginInstance &plugin);
  // The state made from the documents; see ext/tokenizer_train.h.
  static Result<std::string> train(const PluginInstance &plugin, const NextDocument &next, uint64_t total_bytes);

  static Result<std::unique_ptr<Tokenizer>> create(std::unique_ptr<PluginInstance> plugin, std::string_view state);
  ~Tokenizer();

  uint32_t vocabulary_size() const { return vocabulary_size_; }
  std::optional<uint32_t> end_id() const { return end_id_; }
  const std::string &fingerprint() const { return fingerprint_; }  // 64 hexadecimal digits
  const Manifest &manifest() const { return plugin_->manifest(); }

  // Appends the ids of any bytes. An id >= vocabulary_size is kPluginContract. Many threads at once.
  Result<> encode(std::string_view text, std::vector<uint32_t> &ids) const;
  // The bytes of the ids, not necessarily valid UTF-8. Many threads at once.
  Result<std::string> decode(std::span<const uint32_t> ids) const;

 private:
  Tokenizer() = default;
  std::unique_ptr<PluginInstance> plugin_;
  const th_tokenizer_api *api_ = nullptr;
  th_tokenizer *self_ = nullptr;
  uint32_t vocabulary_size_ = 0;
  std::optional<uint32_t> end_id_;
  std::string fingerprint_;
};

}  // namespace trainhost
