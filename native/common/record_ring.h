// Goal: the two shared-memory queues between an engine and JavaScript of the same thread.
//
// Both are emptied whole once a turn, so neither wraps: word 0 is the number of records, records
// of a fixed number of u32 words follow from byte kRingHeaderBytes on.
//
//   RecordRing      engine --push--> [count | r0 r1 r2 …] --JavaScript reads all in its turn-->
//   SubmissionRing  JavaScript --push--> [count | s0 s1 …] --engine reads all in submit()-->
//
// Memory belongs to the ring; an engine shows it to JavaScript with show_memory() of
// napi_support.h, the owner being the engine, and never moves it.
#pragma once

#include <cstdint>
#include <memory>

namespace sealfs {

constexpr uint32_t kRingHeaderBytes = 64;  // keeps records from sharing the count's cache line
constexpr uint32_t kRingHeaderWords = kRingHeaderBytes / 4;

template <uint32_t kWordsPerRecord>
class Ring {
 public:
  explicit Ring(uint32_t capacity)
      : capacity_(capacity),
        words_(new uint32_t[kRingHeaderWords + size_t{capacity} * kWordsPerRecord]()) {}

  void* memory() { return words_.get(); }
  size_t bytes() const { return kRingHeaderBytes + size_t{capacity_} * kWordsPerRecord * 4; }
  uint32_t capacity() const { return capacity_; }

  // Never above the capacity, whatever JavaScript wrote.
  uint32_t count() const { return words_[0] < capacity_ ? words_[0] : capacity_; }
  bool full() const { return words_[0] >= capacity_; }
  void clear() { words_[0] = 0; }

  uint32_t* record(uint32_t index) {
    return words_.get() + kRingHeaderWords + size_t{index} * kWordsPerRecord;
  }
  // The next record, to be filled wholly; null when the ring is full.
  uint32_t* push() {
    if (full()) return nullptr;
    return record(words_[0]++);
  }

 private:
  const uint32_t capacity_;
  std::unique_ptr<uint32_t[]> words_;
};

template <uint32_t kWordsPerRecord>
using RecordRing = Ring<kWordsPerRecord>;
template <uint32_t kWordsPerRecord>
using SubmissionRing = Ring<kWordsPerRecord>;

}  // namespace sealfs
