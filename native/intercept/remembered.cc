// Goal and method: remembered.h.
#include "native/intercept/remembered.h"

#include <string.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "native/intercept/guarded_words.h"

namespace sealfs::intercept::remembered {
namespace {

constexpr size_t kSetBits = 10;
constexpr size_t kSets = size_t{1} << kSetBits;
constexpr size_t kWays = 8;
static_assert(alignof(Attachment) >= 2);
// Both clocks are a tick behind at most.
constexpr uint64_t kSlackMs = 10;

// Words of an entry.
constexpr size_t kKey = 0;
constexpr size_t kHow = 1;   // address of the attachment; its last bit: links are followed
constexpr size_t kBase = 2;  // inode of the directory that the path begins at
constexpr size_t kUntilMs = 3;
constexpr size_t kShape = 4;  // status | dependencies << 32
constexpr size_t kAttributes = 5;
constexpr size_t kAttributeWords = sizeof(StatReply) / 8;
constexpr size_t kPath = kAttributes + kAttributeWords;
constexpr size_t kPathWords = kPathBytes / 8;
constexpr size_t kDependencies = kPath + kPathWords;
constexpr size_t kWords = kDependencies + kDependenciesMax;
static_assert(sizeof(StatReply) % 8 == 0 && sizeof(Dependency) == 8);

struct Entry {
  GuardedWords<kWords> words;
  // Sequence << 32 | sum of the versions at which all dependencies were what they are to be.
  std::atomic<uint64_t> verified{0};
};

// The hashes of a set's entries lie in one line of the processor's cache; 0: free.
struct alignas(64) Set {
  std::atomic<uint64_t> hashes[kWays] = {};
};

constinit Set sets[kSets];
constinit Entry entries[kSets][kWays];
constinit std::atomic<uint32_t> next_victim{0};
constinit std::atomic<bool> empty{true};

// A path as words, zeros behind its end, and what finds it.
struct Key {
  uint64_t how = 0;
  std::array<uint64_t, kPathWords> words;
  size_t count = 0;
  uint64_t hash = 0;
};

constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15u;

// The upper half of a product knows all bits of its factors.
uint64_t mixed(uint64_t hash, uint64_t word) {
  const uint64_t next = (hash ^ word) * kMultiplier;
  return next ^ next >> 32;
}

// False: too long.
bool make_key(const Place& place, bool follows, Key* key) {
  const size_t bytes = strnlen(place.path, kPathBytes);
  // The NUL is a part of it.
  if (bytes >= kPathBytes) return false;
  key->how = reinterpret_cast<uint64_t>(place.attachment) | (follows ? 1 : 0);
  uint64_t hash = mixed(place.directory.stx_ino, key->how);
  for (size_t at = 0; at <= bytes; at += 8) {
    uint64_t word = 0;
    memcpy(&word, place.path + at, std::min<size_t>(8, bytes - at));
    key->words[key->count++] = word;
    hash = mixed(hash, word);
  }
  key->hash = hash == 0 ? 1 : hash;
  return true;
}

size_t set_of(const Key& key) { return key.hash * kMultiplier >> (64 - kSetBits); }

bool is_of(const Entry& entry, const Key& key, const Place& place) {
  const auto& words = entry.words;
  if (words.word(kKey) != key.hash || words.word(kBase) != place.directory.stx_ino ||
      words.word(kHow) != key.how) {
    return false;
  }
  for (size_t i = 0; i < key.count; i++) {
    if (words.word(kPath + i) != key.words[i]) return false;
  }
  return true;
}

bool is_true(Entry* entry, uint32_t sequence, const Attachment& mount) {
  const uint32_t* versions = mount.versions();
  const uint64_t sum = __atomic_load_n(&versions[0], __ATOMIC_ACQUIRE);
  const uint64_t state = uint64_t{sequence} << 32 | sum;
  if (entry->verified.load(std::memory_order_relaxed) == state) return true;
  const size_t count = std::min<uint64_t>(entry->words.word(kShape) >> 32, kDependenciesMax);
  for (size_t i = 0; i < count; i++) {
    const uint64_t word = entry->words.word(kDependencies + i);
    const auto cell = static_cast<uint32_t>(word);
    if (cell >= kVersionCells) return false;
    const uint32_t now = __atomic_load_n(&versions[kVersionsFirst + cell], __ATOMIC_ACQUIRE);
    if (now != static_cast<uint32_t>(word >> 32)) return false;
  }
  entry->verified.store(state, std::memory_order_relaxed);
  return true;
}

bool look(Entry* entry, const Key& key, const Place& place, uint64_t now, Answer* answer) {
  const uint32_t sequence = entry->words.sequence();
  if (!is_of(*entry, key, place) || entry->words.word(kUntilMs) < now) return false;
  std::array<uint64_t, kAttributeWords> attributes;
  for (size_t i = 0; i < kAttributeWords; i++) attributes[i] = entry->words.word(kAttributes + i);
  answer->status = static_cast<uint32_t>(entry->words.word(kShape));
  memcpy(&answer->attributes, attributes.data(), sizeof answer->attributes);
  return is_true(entry, sequence, *place.attachment) && entry->words.is_still(sequence);
}

// Its own; or a free one, or one that is too old; or whichever.
size_t way_for(size_t set, const Key& key, const Place& place, uint64_t now) {
  for (size_t way = 0; way < kWays; way++) {
    if (sets[set].hashes[way] == key.hash && is_of(entries[set][way], key, place)) return way;
  }
  for (size_t way = 0; way < kWays; way++) {
    if (entries[set][way].words.word(kUntilMs) < now) return way;
  }
  return next_victim.fetch_add(1, std::memory_order_relaxed) % kWays;
}

}  // namespace

uint64_t now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
}

bool is_empty() { return empty.load(std::memory_order_relaxed); }

bool find(const Place& place, bool follows, uint64_t now, Answer* answer) {
  Key key;
  if (is_empty() || !make_key(place, follows, &key)) return false;
  const size_t set = set_of(key);
  for (size_t way = 0; way < kWays; way++) {
    if (sets[set].hashes[way].load(std::memory_order_relaxed) != key.hash) continue;
    if (look(&entries[set][way], key, place, now, answer)) return true;
  }
  return false;
}

bool keep(const Place& place, bool follows, uint32_t status, const StatAnswer& answer,
          uint64_t asked_ms) {
  Key key;
  if (answer.valid_ms <= kSlackMs || answer.count == 0 || answer.count > kDependenciesMax ||
      !make_key(place, follows, &key)) {
    return false;
  }
  const size_t set = set_of(key);
  const size_t way = way_for(set, key, place, asked_ms);
  Entry& entry = entries[set][way];
  if (!entry.words.begin()) return false;
  sets[set].hashes[way] = key.hash;
  entry.words.set(kKey, key.hash);
  entry.words.set(kHow, key.how);
  entry.words.set(kBase, place.directory.stx_ino);
  entry.words.set(kUntilMs, asked_ms + answer.valid_ms - kSlackMs);
  entry.words.set(kShape, status | uint64_t{answer.count} << 32);
  std::array<uint64_t, kAttributeWords> attributes;
  memcpy(attributes.data(), &answer.attributes, sizeof answer.attributes);
  for (size_t i = 0; i < kAttributeWords; i++) entry.words.set(kAttributes + i, attributes[i]);
  for (size_t i = 0; i < key.count; i++) entry.words.set(kPath + i, key.words[i]);
  for (size_t i = 0; i < answer.count; i++) {
    const Dependency& each = answer.dependencies[i];
    entry.words.set(kDependencies + i, each.cell | uint64_t{each.version} << 32);
  }
  entry.words.end();
  empty.store(false, std::memory_order_relaxed);
  return true;
}

void forget() {
  if (is_empty()) return;
  for (size_t set = 0; set < kSets; set++) {
    for (size_t way = 0; way < kWays; way++) {
      if (entries[set][way].words.sequence() != 0) entries[set][way].words.reset();
      sets[set].hashes[way] = 0;
    }
  }
  empty = true;
}

}  // namespace sealfs::intercept::remembered
