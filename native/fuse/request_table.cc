// Goal and method: request_table.h.
#include "native/fuse/request_table.h"

#include <cstring>

namespace sealfs::fuse {

bool give_slot(Arena* arena, uint32_t offset) {
  return arena->give_message(offset) || arena->give_bulk(offset);
}

RequestTable::RequestTable(std::shared_ptr<Arena> arena, uint32_t offset)
    : arena_(std::move(arena)), offset_(offset) {
  for (uint32_t i = 0; i < kCapacity; i++) free_[i] = kCapacity - 1 - i;
}

RequestRecord* RequestTable::record(uint32_t index) const {
  return reinterpret_cast<RequestRecord*>(arena_->at(offset_ + index * kRecordBytes));
}

uint32_t RequestTable::open(fuse_req* request) {
  const uint32_t index = free_[--free_count_];
  Entry& entry = entries_[index];
  entry.request = request;
  entry.active = true;
  RequestRecord* cleared = record(index);
  memset(cleared, 0, sizeof *cleared);
  cleared->generation = entry.generation;
  return index;
}

bool RequestTable::find(uint32_t index, uint32_t generation, fuse_req** request) const {
  if (index >= kCapacity) return false;
  const Entry& entry = entries_[index];
  if (!entry.active || entry.generation != generation) return false;
  *request = entry.request;
  return true;
}

void RequestTable::close(uint32_t index) {
  Entry& entry = entries_[index];
  RequestRecord* closed = record(index);
  if (closed->slot != 0) give_slot(arena_.get(), closed->slot);
  closed->slot = 0;
  closed->generation = 0;  // a late look by JavaScript finds no live request
  entry.request = nullptr;
  entry.active = false;
  entry.generation = entry.generation == UINT32_MAX ? 1 : entry.generation + 1;
  free_[free_count_++] = index;
}

uint32_t RequestTable::keep_name(RequestRecord* record, std::string_view name, uint32_t slot,
                                 uint32_t* used) {
  if (*used + name.size() > kNameBytes) {
    record->slot = slot;
    return static_cast<uint32_t>(reinterpret_cast<const uint8_t*>(name.data()) - arena_->base());
  }
  uint8_t* behind = reinterpret_cast<uint8_t*>(record + 1) + *used;
  memcpy(behind, name.data(), name.size());
  *used += name.size();
  return static_cast<uint32_t>(behind - arena_->base());
}

}  // namespace sealfs::fuse
