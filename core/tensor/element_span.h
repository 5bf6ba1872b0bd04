// Numbers of one type in memory of somebody else, which need not be float32.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace trainhost {

// What optimizer states may be stored as, and checkpoints hold.
enum class ElementType : uint8_t { kFloat32, kBfloat16 };

constexpr size_t bytes_per_element(ElementType type) { return type == ElementType::kBfloat16 ? sizeof(uint16_t) : sizeof(float); }

// The floats that take as much memory as so many elements, or a little more.
constexpr size_t floats_for(ElementType type, size_t count) {
  return (count * bytes_per_element(type) + sizeof(float) - 1) / sizeof(float);
}

// `size()` elements that lie behind each other; a copy is another view of them.
class ElementSpan {
 public:
  ElementSpan() = default;
  ElementSpan(ElementType type, std::byte *data, size_t count) : type_(type), data_(data), count_(count) {}
  template <std::convertible_to<std::span<float>> Floats>
  ElementSpan(Floats &&floats) : ElementSpan(ElementType::kFloat32, std::span<float>(floats)) {}
  // The bits of bfloat16 numbers.
  template <std::convertible_to<std::span<uint16_t>> Bits>
  ElementSpan(Bits &&bits) : ElementSpan(ElementType::kBfloat16, std::span<uint16_t>(bits)) {}

  ElementType type() const { return type_; }
  size_t size() const { return count_; }
  std::span<std::byte> bytes() const { return {data_, count_ * bytes_per_element(type_)}; }
  std::span<float> floats() const { return {reinterpret_cast<float *>(data_), count_}; }               // only of kFloat32
  std::span<uint16_t> bfloat16_bits() const { return {reinterpret_cast<uint16_t *>(data_), count_}; }  // only of kBfloat16
  ElementSpan subspan(size_t begin, size_t count) const { return {type_, data_ + begin * bytes_per_element(type_), count}; }
  ElementSpan first(size_t count) const { return subspan(0, count); }

 private:
  template <class Item>
  ElementSpan(ElementType type, std::span<Item> items) : ElementSpan(type, std::as_writable_bytes(items).data(), items.size()) {}

  ElementType type_ = ElementType::kFloat32;
  std::byte *data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace trainhost
