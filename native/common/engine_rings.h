// Goal: the rings between a transport engine and JavaScript (schema/engine.fbs, record_ring.h), and
// the events of connections that wait for a place in them.
#pragma once

#include <cstdint>
#include <deque>

#include "native/common/engine_layout.generated.h"
#include "native/common/record_ring.h"

namespace sealfs::engine {

constexpr uint32_t kRecordsMax = 8192;
constexpr uint32_t kSubmissionsMax = 2048;

using Records = RecordRing<sizeof(Record) / 4>;
using Submissions = SubmissionRing<sizeof(Submission) / 4>;

inline const Submission& submission(Submissions& ring, uint32_t index) {
  return *reinterpret_cast<const Submission*>(ring.record(index));
}

// A Message record; the ring must have room. bulk_offset 0: none, or dropped.
inline void push_message(Records& records, uint32_t connection, uint32_t offset, uint32_t bytes,
                         uint32_t bulk_offset, uint32_t bulk_bytes, bool owns_slot) {
  auto* record = reinterpret_cast<Record*>(records.push());
  record->kind = static_cast<uint32_t>(RecordKind::kMessage);
  record->connection = connection;
  record->message_offset = offset;
  record->message_bytes = bytes;
  record->bulk_offset = bulk_offset;
  record->bulk_bytes = bulk_bytes;
  record->code = 0;
  record->owns_slot = owns_slot ? 1 : 0;
}

// What happened to connections, in order: pushed at any time, moved into the ring by a harvest.
class EventQueue {
 public:
  // `code`: of kClosed, kConnectFailed, kAcceptFailed an errno or Reason; else 0.
  void push(RecordKind kind, uint32_t connection, uint32_t code = 0) {
    events_.push_back({kind, connection, code});
  }
  bool empty() const { return events_.empty(); }
  void clear() { events_.clear(); }

  // False: the ring is full and events are left. No message must be pushed then: it would come
  // before its connection's event.
  bool emit(Records& records) {
    while (!events_.empty()) {
      auto* record = reinterpret_cast<Record*>(records.push());
      if (record == nullptr) return false;
      const Event& event = events_.front();
      *record = Record{};
      record->kind = static_cast<uint32_t>(event.kind);
      record->connection = event.connection;
      record->code = event.code;
      events_.pop_front();
    }
    return true;
  }

 private:
  struct Event {
    RecordKind kind;
    uint32_t connection;
    uint32_t code;
  };
  std::deque<Event> events_;
};

}  // namespace sealfs::engine
