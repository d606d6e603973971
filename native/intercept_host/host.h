// Goal: the mount process's side of interception as an event source of its thread: programs attach
// over a UNIX socket, their calls come as records of a turn, answers go back into their memory.
// Method: every poll looks at one word of each program (Region); the socket, the deaths of programs
// and bells rung while the thread slept come through one epoll descriptor. All that a program
// wrote is judged here, natively: JavaScript sees calls with the core's own handles, and data in
// arena slots.
//
//   connect ── Witness: who is it? ──> Welcome, memfd ──> Hello
//   bell ── request copied, checked ──┬─ bad, or not for us: answered here with a Fallback
//                                     └─ slot taken, data copied ──> CallRecord ──> AnswerRecord
//                                        (in an arena's share it stays where it is)
//   end of the connection or process ──> Close of each handle, Gone; its memory goes with its last
//   call
//
// Without a free slot a lane stays rung and is looked at again.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/common/arena.h"
#include "native/common/event_source.h"
#include "native/common/record_ring.h"
#include "native/intercept_host/calls.generated.h"
#include "native/intercept_host/handles.h"
#include "native/intercept_host/mounts.h"
#include "native/intercept_host/region.h"
#include "native/intercept_host/versions.h"
#include "native/intercept_host/witness.h"

namespace sealfs::intercept {

struct HostOptions {
  std::string device;       // of the mount, "major:minor"
  std::string socket_name;  // behind kSocketPrefix; empty: the device
  std::string mountpoint;   // resolved
  uint64_t root_inode = 1;  // of the mount
  bool any_user = false;    // others than this process's user may attach
  uint32_t keep_bulk = 8;   // slots that are left to others
  uint32_t keep_messages = 160;
};

struct HostCounters {
  uint64_t programs = 0;  // attached so far
  uint64_t refused = 0;
  uint64_t calls = 0;      // given to JavaScript
  uint64_t fallbacks = 0;  // sent to the kernel by native code
};

// Whether the kernel would take these, and as they are.
bool are_in_order(const Times& times);
// Of kChangeOwner and kFileChangeOwner: user and group.
void set_owner(const Request& request, CallRecord* fields);

class Host : public EventSource {
 public:
  static constexpr uint32_t kProgramsMax = 512;
  static constexpr uint32_t kHandlesMax = 4096;  // of one program
  static constexpr uint32_t kCalls = 1024;
  static constexpr uint32_t kRecords = 2048;
  static_assert(kRecords >= kCalls);

  // Null, with a reason in `error`: the socket's name is taken, for instance.
  static std::shared_ptr<Host> create(std::shared_ptr<Arena> arena, HostOptions options,
                                      std::string* error);
  ~Host() override;

  uint32_t harvest() override;
  void submit() override;
  int fd() const override { return epoll_fd_; }
  bool arm() override;
  uint32_t outstanding() const override { return kCalls - static_cast<uint32_t>(free_.size()); }

  // Programs are let go: their calls end, and they go on with the kernel alone.
  void close();

  RecordRing<sizeof(CallRecord) / 4>& records() { return records_; }
  SubmissionRing<sizeof(AnswerRecord) / 4>& answers() { return answers_; }
  const HostCounters& counters() const { return counters_; }
  Versions& versions() { return *versions_; }

 private:
  struct Program {
    uint32_t number = 0;  // never used again
    int socket = -1;
    Witness witness;
    std::unique_ptr<Region> region;
    uint32_t share = 0;  // arena offset of the data of the first lanes; 0: it has none
    uint32_t calls = 0;  // given to JavaScript, not answered
    uint32_t handles = 0;
    bool gone = false;
  };
  struct Call {
    Program* program = nullptr;  // null: free
    uint32_t lane = 0;
    CallKind kind = CallKind::kHello;
    uint32_t slot = 0;
    bool in_share = false;  // the slot is of the program's region
    uint32_t length = 0;
    uint32_t value_at = 0;  // in the slot, of an extended attribute's value
    uint64_t inode = 0;
    uint32_t flags = 0;
    uint32_t dots = 0;            // of a listing: dots_behind()
    uint32_t mounts_version = 0;  // of kMountsCell, before it was asked what is mounted
  };

  Host(std::shared_ptr<Arena> arena, HostOptions options);
  bool listen(std::string* error);
  bool watch(int fd, uint64_t tag);
  void look_around();
  void listen_to(Program* program);
  void accept_programs();
  int admit(int socket);
  void leave(Program* program);
  void sweep();
  void take_calls(Program* program);
  bool take_call(Program* program, uint32_t lane);
  bool take_open(Program* program, uint32_t lane, const Request& request);
  bool take_data(Program* program, uint32_t lane, const Request& request, CallKind kind);
  bool take_path(Program* program, uint32_t lane, const Request& request, CallKind kind);
  bool take_file(Program* program, uint32_t lane, const Request& request, CallKind kind);
  bool take_listing(Program* program, uint32_t lane, const Request& request);
  bool take_xattr(Program* program, uint32_t lane, const Request& request, CallKind kind);
  static bool copy_texts(const Program& program, uint32_t lane, const Request& request,
                         CallKind kind, uint8_t* to);
  bool may_walk(const Program& program, const Request& request, CallKind kind);
  bool may_change(const Program& program);
  void take_close(Program* program, uint32_t lane, const Request& request);
  void refuse(Program* program, uint32_t lane, Fallback why);
  void push(CallKind kind, const Program& program, const CallRecord& fields);
  void push_call(Program* program, Call call, CallRecord fields);
  bool has_room() const;
  uint32_t take_slot(uint32_t bytes);
  void give_slot(uint32_t slot);
  static uint32_t data_in_share(const Program& program, uint32_t lane);
  void answer(const AnswerRecord& record);
  void reply(const Call& call, const AnswerRecord& record);
  uint64_t reply_stat(const Call& call, uint32_t status);
  bool reply_listing(const Call& call, uint64_t* value);

  const std::shared_ptr<Arena> arena_;
  const HostOptions options_;
  int epoll_fd_ = -1;
  int listen_fd_ = -1;
  bool asleep_ = false;
  bool harvesting_ = false;
  bool closed_ = false;
  uint32_t polls_ = 0;
  uint32_t numbers_ = 0;
  std::vector<std::unique_ptr<Program>> programs_;
  Handles handles_;
  Mounts mounts_;
  std::unique_ptr<Versions> versions_;
  std::array<Call, kCalls> calls_;
  std::vector<uint32_t> free_;
  std::vector<CallRecord> late_;  // found outside of a harvest, or without room
  RecordRing<sizeof(CallRecord) / 4> records_{kRecords};
  SubmissionRing<sizeof(AnswerRecord) / 4> answers_{kCalls};
  HostCounters counters_;
};

}  // namespace sealfs::intercept
