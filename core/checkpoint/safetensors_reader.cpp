#include <algorithm>
#include <cstring>
#include <set>

#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_format.h"

namespace trainhost {
namespace {

// Receives the header's JSON as events and accepts nothing but {NAME: {"dtype": TEXT, "shape": [N...], "data_offsets": [N, N]}} and
// "__metadata__": {TEXT: TEXT}. It stops at the first fault, so depth and memory are bounded whatever the text is.
class HeaderEvents final : public nlohmann::json_sax<nlohmann::json> {
 public:
  const std::string &fault() const { return fault_; }
  std::vector<SafetensorsTensor> take_tensors() { return std::move(tensors_); }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) return move_to(Place::kNames);
    if (place_ == Place::kNames) return move_to(in_metadata_ ? Place::kMetadata : Place::kEntry);
    return unexpected("an object");
  }

  bool key(std::string &text) override {
    if (place_ == Place::kNames) return start_name(text);
    if (!keys_.insert(text).second) return stop("key \"" + text + "\" stands twice in " + owner());
    field_ = text;
    if (place_ == Place::kEntry && text != "dtype" && text != "shape" && text != "data_offsets")
      return stop("unknown key \"" + text + "\" in " + owner());
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kMetadata) return move_to(Place::kNames);
    if (place_ == Place::kNames) return move_to(Place::kEnd);
    if (keys_.size() != 3) return stop(owner() + " lacks dtype, shape or data_offsets");
    if (offsets_.size() != 2) return stop("data_offsets of " + owner() + " are not two numbers");
    tensors_.back().begin = offsets_[0];
    tensors_.back().end = offsets_[1];
    return move_to(Place::kNames);
  }

  bool start_array(size_t) override {
    if (place_ != Place::kEntry || field_ == "dtype") return unexpected("a list");
    return move_to(Place::kNumbers);
  }

  bool end_array() override { return move_to(Place::kEntry); }

  bool string(std::string &text) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kEntry || field_ != "dtype") return unexpected("a text");
    if (!safetensors::find_dtype(text)) return stop(owner() + " has the unknown dtype \"" + text + "\"");
    tensors_.back().dtype = text;
    return true;
  }

  bool number_unsigned(uint64_t value) override {
    if (place_ != Place::kNumbers) return unexpected("a number");
    if (field_ == "data_offsets") {
      offsets_.push_back(value);
      return offsets_.size() <= 2 || stop("data_offsets of " + owner() + " are not two numbers");
    }
    if (value > INT64_MAX) return stop("the shape of " + owner() + " overflows");
    tensors_.back().shape.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool number_integer(int64_t) override { return unexpected("a negative number"); }
  bool number_float(double, const std::string &) override { return unexpected("a number that is no 64-bit integer"); }
  bool binary(nlohmann::json::binary_t &) override { return unexpected("binary data"); }
  bool parse_error(size_t position, const std::string &, const nlohmann::json::exception &) override {
    return stop("not JSON at byte " + std::to_string(safetensors::kLengthBytes + position));
  }

 private:
  enum class Place { kStart, kNames, kMetadata, kEntry, kNumbers, kEnd };

  bool start_name(const std::string &name) {
    if (!names_.insert(name).second) return stop("\"" + name + "\" stands twice");
    in_metadata_ = name == safetensors::kMetadataKey;
    if (!in_metadata_) tensors_.push_back({.name = name, .dtype = {}, .shape = {}});
    keys_.clear();
    offsets_.clear();
    return true;
  }

  bool move_to(Place place) {
    place_ = place;
    return true;
  }

  bool stop(std::string fault) {
    fault_ = std::move(fault);
    return false;
  }

  std::string owner() const { return in_metadata_ || tensors_.empty() ? "the metadata" : "tensor \"" + tensors_.back().name + "\""; }
  bool unexpected(const char *what) {
    return stop(place_ == Place::kStart ? "not an object" : std::string(what) + " stands where it may not in " + owner());
  }

  Place place_ = Place::kStart;
  bool in_metadata_ = false;
  std::string field_;
  std::set<std::string> names_, keys_;
  std::vector<uint64_t> offsets_;
  std::vector<SafetensorsTensor> tensors_;
  std::string fault_;
};

// Sorts by offset and checks that the tensors tile the data exactly. Returns the fault, or an empty text.
std::string check_tiling(std::vector<SafetensorsTensor> &tensors, uint64_t data_bytes) {
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto &a, const auto &b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  uint64_t expected = 0;
  for (const SafetensorsTensor &tensor : tensors) {
    const std::string name = "tensor \"" + tensor.name + "\"";
    if (tensor.begin != expected) {
      return name + " begins at byte " + std::to_string(tensor.begin) + " of the data, where " + std::to_string(expected) + " was expected";
    }
    const auto bytes = safetensors::tensor_bytes(tensor.dtype, tensor.shape);
    if (!bytes) return "the shape of " + name + " overflows";
    if (tensor.end < tensor.begin || tensor.end - tensor.begin != *bytes) {
      return name + " has offsets that do not fit its shape of " + std::to_string(*bytes) + " bytes";
    }
    expected = tensor.end;
  }
  if (expected == data_bytes) return {};
  return "the tensors end at byte " + std::to_string(expected) + " of the data, the file has " + std::to_string(data_bytes);
}

}  // namespace

Result<SafetensorsLayout> read_safetensors(ReadableFile &file, const std::string &path) {
  const auto refuse = [&](const std::string &fault) {
    return failure(ErrorKind::kData, path + ": is not a sound safetensors file: " + fault);
  };
  if (file.size() < safetensors::kLengthBytes)
    return refuse("it has " + std::to_string(file.size()) + " bytes, fewer than its header's length takes");
  uint64_t length = 0;
  TRAINHOST_CHECK(file.read(0, std::as_writable_bytes(std::span(&length, 1))));
  if (length > safetensors::kMaximumHeaderBytes)
    return refuse("its header claims " + std::to_string(length) + " bytes, over the limit of 100000000");
  if (length > file.size() - safetensors::kLengthBytes) {
    return refuse("its header claims " + std::to_string(length) + " bytes, the file has " + std::to_string(file.size()));
  }

  SafetensorsLayout layout;
  layout.header.resize(safetensors::kLengthBytes + length);
  TRAINHOST_CHECK(file.read(0, std::as_writable_bytes(std::span(layout.header))));
  const std::string_view json = std::string_view(layout.header).substr(safetensors::kLengthBytes);
  if (!json.starts_with('{')) return refuse("its header does not begin with {");
  // The JSON library takes a zero byte for the end of the text.
  if (json.find('\0') != std::string_view::npos) return refuse("its header holds a zero byte");
  HeaderEvents events;
  if (!nlohmann::json::sax_parse(json, &events)) return refuse(events.fault());
  layout.tensors = events.take_tensors();
  if (const std::string fault = check_tiling(layout.tensors, file.size() - layout.header.size()); !fault.empty()) return refuse(fault);
  return layout;
}

}  // namespace trainhost
