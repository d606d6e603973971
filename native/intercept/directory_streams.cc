// Goal and method: directory_streams.h.
#include "native/intercept/directory_streams.h"

#include <sys/mman.h>

#include <algorithm>

namespace sealfs::intercept::streams {
namespace {

// Open at a time; one that finds no place among as many as are looked at is libc's.
constexpr size_t kStreams = 1024;
constexpr size_t kLooks = 16;
// Pages that are kept for the next streams.
constexpr size_t kSpares = 4;

constinit Stream table[kStreams];
constinit std::atomic<uint8_t*> spares[kSpares];

// A place that is being filled.
DIR* claimed() { return reinterpret_cast<DIR*>(1); }

Stream* place(const DIR* directory, size_t look) {
  const uint64_t hash = reinterpret_cast<uint64_t>(directory) * 0x9e3779b97f4a7c15u;
  return &table[((hash >> 48) + look) % kStreams];
}

void give_back(uint8_t* page) {
  for (auto& spare : spares) {
    uint8_t* none = nullptr;
    if (page == nullptr || spare.compare_exchange_strong(none, page)) return;
  }
  munmap(page, kPageBytes);
}

// As if it had never been read.
void reset(Stream* stream) {
  if (stream->handle != 0) stream->attachment->release(stream->handle);
  give_back(stream->page);
  stream->lock = 0;
  stream->source = Source::kFresh;
  stream->attachment = nullptr;
  stream->handle = 0;
  stream->page = nullptr;
  stream->drop();
}

}  // namespace

Stream* find(DIR* directory) {
  for (size_t i = 0; directory != nullptr && i < kLooks; i++) {
    Stream* stream = place(directory, i);
    if (stream->directory.load(std::memory_order_acquire) == directory) return stream;
  }
  return nullptr;
}

Stream* opened(DIR* directory) {
  // One that was closed behind our back had the same address.
  Stream* known = find(directory);
  if (known != nullptr) {
    reset(known);
    return known;
  }
  for (size_t i = 0; i < kLooks; i++) {
    Stream* stream = place(directory, i);
    DIR* none = nullptr;
    if (!stream->directory.compare_exchange_strong(none, claimed())) continue;
    reset(stream);
    stream->directory.store(directory, std::memory_order_release);
    return stream;
  }
  return nullptr;
}

void closing(DIR* directory) {
  Stream* stream = find(directory);
  if (stream == nullptr) return;
  reset(stream);
  stream->directory.store(nullptr, std::memory_order_release);
}

bool reserve(Stream* stream) {
  for (auto& spare : spares) {
    if (stream->page != nullptr) return true;
    stream->page = spare.exchange(nullptr);
  }
  if (stream->page != nullptr) return true;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS;
  void* page = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (page == MAP_FAILED) return false;
  stream->page = static_cast<uint8_t*>(page);
  return true;
}

void forget() {
  for (Stream& stream : table) {
    DIR* directory = stream.directory.load();
    if (directory == nullptr) continue;
    stream.handle = 0;
    stream.attachment = nullptr;
    // A thread that is not here was in the middle of it.
    const bool was_taken = stream.lock.exchange(0) != 0;
    if (was_taken) {
      stream.drop();
      stream.source = Source::kLibc;
    }
    if (directory == claimed()) stream.directory = nullptr;
  }
}

}  // namespace sealfs::intercept::streams
