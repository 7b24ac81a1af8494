// The state of an object as bytes, little-endian and the same on every machine. One function of an object lists
// its numbers, once for saving and loading.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace stageplan {

template <class Type>
concept Number = std::is_arithmetic_v<Type> || std::is_enum_v<Type>;

// Takes numbers in when it saves; when it loads, gives them back in the same order. Loading never reads past
// the end: bytes that were cut short, changed or saved by another object throw std::invalid_argument.
class State {
 public:
  // To save.
  State() = default;

  // To load; `bytes` must outlive it.
  explicit State(std::string_view bytes) : loading_(true) {
    check(bytes.size() >= sizeof(std::uint64_t));
    rest_ = bytes.substr(0, bytes.size() - sizeof(std::uint64_t));
    std::uint64_t sum = 0;
    std::string_view end = bytes.substr(rest_.size());
    copy_from(end, sum);
    check(sum == checksum(rest_));
  }

  bool loading() const { return loading_; }

  template <Number Type>
  void operator()(Type& number) {
    if (loading_)
      copy_from(rest_, number);
    else
      append(number);
  }

  template <Number Type>
  void operator()(std::vector<Type>& numbers) {
    size(numbers, sizeof(Type));
    for (Type& number : numbers) (*this)(number);
  }

  // The genes of schemes, copied at once.
  void operator()(std::vector<std::int8_t>& genes) {
    size(genes);
    if (genes.empty()) return;
    if (!loading_) {
      bytes_.append(reinterpret_cast<const char*>(genes.data()), genes.size());
      return;
    }
    std::memcpy(genes.data(), rest_.data(), genes.size());
    rest_.remove_prefix(genes.size());
  }

  // The number of some items, each of at least `bytes` bytes.
  template <class Item>
  void size(std::vector<Item>& items, size_t bytes = 1) {
    std::uint64_t count = items.size();
    (*this)(count);
    if (!loading_) return;
    check(count <= rest_.size() / bytes);
    items.resize(count);
  }

  // To be called with what must hold of loaded numbers.
  void check(bool holds) const {
    if (!holds && loading_)
      throw std::invalid_argument("the state of the search is damaged, or of another one");
  }

  // All that was saved, with a checksum. The object is empty afterwards.
  std::string take() {
    append(checksum(bytes_));
    return std::move(bytes_);
  }

  // To be called when everything was loaded.
  void finish() const { check(rest_.empty()); }

 private:
  template <Number Type>
  void append(Type number) {
    char raw[sizeof(Type)];
    std::memcpy(raw, &number, sizeof(Type));
    if constexpr (std::endian::native == std::endian::big) std::reverse(raw, raw + sizeof(Type));
    bytes_.append(raw, sizeof(Type));
  }

  template <Number Type>
  void copy_from(std::string_view& from, Type& number) const {
    check(from.size() >= sizeof(Type));
    char raw[sizeof(Type)];
    std::memcpy(raw, from.data(), sizeof(Type));
    if constexpr (std::endian::native == std::endian::big) std::reverse(raw, raw + sizeof(Type));
    if constexpr (std::is_same_v<Type, bool>) check(raw[0] == 0 || raw[0] == 1);
    std::memcpy(&number, raw, sizeof(Type));
    from.remove_prefix(sizeof(Type));
  }

  // Each byte changes all that follow.
  static std::uint64_t checksum(std::string_view bytes) {
    std::uint64_t sum = bytes.size();
    for (size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      for (size_t b = i; b < std::min(bytes.size(), i + sizeof(word)); ++b)
        word = word << 8 | static_cast<unsigned char>(bytes[b]);
      sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
      sum ^= sum >> 32;
    }
    return sum;
  }

  bool loading_ = false;
  std::string bytes_;      // saved
  std::string_view rest_;  // to load
};

// Objects that others share: each is saved once.
template <class Type>
class SharedState {
 public:
  // `transfer` saves or loads an object.
  template <class Transfer>
  void operator()(State& state, std::shared_ptr<const Type>& object, const Transfer& transfer) {
    std::uint64_t number = 0;  // of none; the next one is new
    if (object) number = numbers_.try_emplace(object.get(), objects_.size() + 1).first->second;
    state(number);
    state.check(number <= objects_.size() + 1);
    if (number == objects_.size() + 1) {
      Type copy = object ? *object : Type();
      transfer(copy);
      objects_.push_back(state.loading() ? std::make_shared<const Type>(std::move(copy)) : object);
    }
    if (state.loading()) object = number == 0 ? nullptr : objects_[number - 1];
  }

 private:
  std::vector<std::shared_ptr<const Type>> objects_;
  std::unordered_map<const Type*, std::uint64_t> numbers_;  // of saved ones
};

}  // namespace stageplan
