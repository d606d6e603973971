// Goal: the connections of one engine under numbers that JavaScript can hold without harm. Method:
// a number is a place and the place's generation; a place is used again as late as it can be, with
// the next generation, so an old number finds nothing.
//
//   number   [ generation: 17 bits | place: 14 bits ]     > 0 and below 2^31
//
// T has a member `uint32_t id`, set here.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace sealfs::engine {

constexpr uint32_t kConnectionBits = 14;
constexpr uint32_t kConnectionsMax = 1u << kConnectionBits;

template <typename T>
class ConnectionTable {
 public:
  // Null: no connection of this number, or no longer. Any number may be asked for.
  T* find(uint32_t id) {
    const uint32_t place = id & (kConnectionsMax - 1);
    if (place >= places_.size()) return nullptr;
    T* c = places_[place].get();
    return c != nullptr && c->id == id ? c : nullptr;
  }

  // A new T with its number, owned by the table; null when there are too many.
  T* allocate() {
    uint32_t id;
    if (places_.size() < kConnectionsMax && free_.size() < kFreeMin) {
      id = 1u << kConnectionBits | static_cast<uint32_t>(places_.size());
      places_.emplace_back();
    } else if (!free_.empty()) {
      id = free_.front();
      free_.pop_front();
    } else {
      return nullptr;
    }
    auto& place = places_[id & (kConnectionsMax - 1)];
    place = std::make_unique<T>();
    place->id = id;
    return place.get();
  }

  // Ends the number of `c`. What is returned may be dropped at once, or kept until hardware has let
  // go of it.
  std::unique_ptr<T> remove(T& c) {
    const uint32_t place = c.id & (kConnectionsMax - 1);
    uint32_t generation = (c.id >> kConnectionBits) + 1;
    if (generation > kGenerationMax) generation = 1;
    free_.push_back(generation << kConnectionBits | place);
    return std::move(places_[place]);
  }

  // Calls visit(T&) for each; it may remove the one that it is given.
  template <typename Visit>
  void each(Visit&& visit) {
    for (size_t i = 0; i < places_.size(); i++) {
      if (places_[i]) visit(*places_[i]);
    }
  }

 private:
  static constexpr uint32_t kGenerationMax = (1u << 17) - 1;
  static constexpr size_t kFreeMin = 1024;  // before a place is used again

  std::vector<std::unique_ptr<T>> places_;
  std::deque<uint32_t> free_;  // numbers to come; the place unused longest is taken first
};

}  // namespace sealfs::engine
