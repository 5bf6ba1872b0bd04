#include "checkpoint/deepen.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "checkpoint/manifest_format.h"

namespace trainhost {
namespace {

// A name around its number: "block." 7 ".norm.weight".
struct NumberedName {
  std::string_view prefix;
  uint64_t layer;
  std::string_view rest;
};

// The number that begins a text and ends it or is followed by a dot, as it is written: without zeros before it.
std::optional<uint64_t> leading_number(std::string_view text) {
  constexpr size_t kMostDigits = 9;
  const std::string_view digits = text.substr(0, text.find('.'));
  if (digits.empty() || digits.size() > kMostDigits || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
  uint64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return parsed.ptr == digits.data() + digits.size() ? std::optional(number) : std::nullopt;
}

std::optional<NumberedName> numbered(std::string_view name) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    if (const auto layer = leading_number(name.substr(begin)))
      return NumberedName{.prefix = name.substr(0, begin), .layer = *layer, .rest = name.substr(end)};
    begin = end + 1;
  }
  return std::nullopt;
}

using Layers = std::map<uint64_t, std::map<std::string, StoredTensors::Shape>>;

// What keeps these from being layers 0 ... n - 1 with the same parameters; empty: nothing.
std::string fault_of(const std::string &prefix, const Layers &layers) {
  uint64_t expected = 0;
  for (const auto &[layer, parameters] : layers) {
    if (layer != expected) return fmt::format("its layers are numbered {}{}, and {}{} is missing", prefix, layer, prefix, expected);
    if (parameters != layers.begin()->second) return fmt::format("{}{} has not the same parameters as {}0", prefix, layer, prefix);
    ++expected;
  }
  return {};
}

Result<> check(const LayerNames &names, const Deepening &deepening) {
  if (deepening.begin >= deepening.end || deepening.end > names.count) {
    return failure(ErrorKind::kUsage,
                   fmt::format("--layers is {}-{}, and the model has the layers 0-{}: the first is copied, the last is not",
                               deepening.begin, deepening.end, names.count));
  }
  for (const std::string &zeroed : deepening.zeroed) {
    if (names.parameters.contains("." + zeroed)) continue;
    std::string known;
    for (const auto &[name, shape] : names.parameters) known += (known.empty() ? "" : ", ") + name.substr(std::min<size_t>(1, name.size()));
    return failure(ErrorKind::kUsage, fmt::format("--zero-output names \"{}\"; a layer's parameters are {}", zeroed, known));
  }
  return {};
}

ElementSource zeros() {
  return [](std::span<std::byte> out) -> Result<> {  // of any type
    std::ranges::fill(out, std::byte{0});
    return {};
  };
}

// rest: of a parameter's name, or of a state's, which goes on with the state.
bool is_zeroed(std::string_view rest, const LayerNames &names, const Deepening &deepening) {
  std::string_view parameter;  // the longest that it can be of
  for (const auto &[name, shape] : names.parameters) {
    const bool fits = rest.starts_with(name) && (rest.size() == name.size() || rest[name.size()] == '.');
    if (fits && name.size() > parameter.size()) parameter = name;
  }
  return std::ranges::any_of(deepening.zeroed, [&](const std::string &zeroed) { return parameter == "." + zeroed; });
}

}  // namespace

Result<LayerNames> find_layers(const StoredTensors &stored, const std::string &checkpoint) {
  std::map<std::string, Layers, std::less<>> series;
  for (const auto &[tensor, described] : stored.tensors()) {
    if (!tensor.starts_with(manifest::kModelPrefix)) continue;
    if (const auto name = numbered(std::string_view(tensor).substr(manifest::kModelPrefix.size())))
      series[std::string(name->prefix)][name->layer].emplace(name->rest, described.shape);
  }
  const auto refuse = [&](const std::string &found) { return failure(ErrorKind::kUsage, checkpoint + ": " + found); };
  if (series.empty()) return refuse("its parameters are not numbered by layer, as \"block.0.norm.weight\", so no layer can be copied");
  const auto &[prefix, layers] = *series.begin();
  if (series.size() > 1)
    return refuse(fmt::format("has several series of layers, as {}0 and {}0; one was expected", prefix, series.rbegin()->first));
  if (const std::string fault = fault_of(prefix, layers); !fault.empty()) return refuse(fault);
  return LayerNames{.prefix = prefix, .count = layers.size(), .parameters = layers.begin()->second};
}

Result<std::vector<MadeTensor>> deepen(const StoredTensors &stored, const LayerNames &names, const Deepening &deepening) {
  TRAINHOST_CHECK(check(names, deepening));
  std::vector<MadeTensor> tensors;
  for (const auto &[tensor, described] : stored.tensors()) {
    const auto &[shape, type] = described;
    const auto original = [&stored, &tensor] { return stored.read(tensor); };
    const size_t kind = tensor.find('.') + 1;  // behind "model." or "optimizer."
    const auto name = numbered(std::string_view(tensor).substr(kind));
    if (!name || name->prefix != names.prefix) {
      tensors.push_back({.name = tensor, .type = type, .shape = shape, .read = original});
      continue;
    }
    const auto add = [&](uint64_t layer, std::function<ElementSource()> read) {
      tensors.push_back({.name = fmt::format("{}{}{}{}", tensor.substr(0, kind), names.prefix, layer, name->rest),
                         .type = type,
                         .shape = shape,
                         .read = std::move(read)});
    };
    const uint64_t copies = deepening.copies();
    add(name->layer < deepening.end ? name->layer : name->layer + copies, original);
    if (name->layer < deepening.begin || name->layer >= deepening.end) continue;
    if (is_zeroed(name->rest, names, deepening))
      add(name->layer + copies, zeros);
    else
      add(name->layer + copies, original);
  }
  return tensors;
}

}  // namespace trainhost
