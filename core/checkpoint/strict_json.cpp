#include "checkpoint/strict_json.h"

#include <set>
#include <vector>

namespace trainhost {
namespace {

constexpr size_t kMaximumDepth = 16;

// Passes over a text for what the library's parser lets through, before anything is built from it.
class StrictEvents final : public nlohmann::json_sax<nlohmann::json> {
 public:
  const std::string &fault() const { return fault_; }

  bool start_object(size_t) override { return enter(); }
  bool start_array(size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool key(std::string &text) override {
    return keys_.back().insert(text).second || stop("has the key \"" + text + "\" twice in one object");
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string &) override { return true; }
  bool string(std::string &) override { return true; }
  bool binary(nlohmann::json::binary_t &) override { return true; }
  bool parse_error(size_t position, const std::string &, const nlohmann::json::exception &) override {
    return stop("is not JSON at byte " + std::to_string(position));
  }

 private:
  bool enter() {
    keys_.emplace_back();
    return keys_.size() <= kMaximumDepth || stop("is nested deeper than " + std::to_string(kMaximumDepth) + " levels");
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }
  bool stop(std::string fault) {
    fault_ = std::move(fault);
    return false;
  }

  std::vector<std::set<std::string>> keys_;  // of the objects and lists that are open
  std::string fault_;
};

}  // namespace

Result<nlohmann::json> parse_strict_json(std::string_view text, const std::string &path) {
  // The library takes a zero byte for the end of the text.
  if (text.find('\0') != std::string_view::npos) return failure(ErrorKind::kData, path + ": holds a zero byte, which JSON does not allow");
  StrictEvents events;
  if (!nlohmann::json::sax_parse(text, &events)) return failure(ErrorKind::kData, path + ": " + events.fault());
  return nlohmann::json::parse(text, nullptr, false);
}

}  // namespace trainhost
