// Goal: libfuse's decoded requests as records. Method: one callback an operation, each filling the
// fields of RequestRecord that schema/fuse.fbs names for it. What is absent here (ioctl,
// poll, …) libfuse answers with ENOSYS, which the kernel remembers.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>

#include "native/fuse/file_lock.h"
#include "native/fuse/session.h"

namespace sealfs::fuse {
namespace {

using Opened = Session::Opened;

Session& session_of(fuse_req_t request) {
  return *static_cast<Session*>(fuse_req_userdata(request));
}

void set_name(Session& session, Opened* opened, const char* name) {
  RequestRecord* record = opened->record;
  record->name_offset = session.keep_name(opened, name, &record->name_bytes);
}

void set_name2(Session& session, Opened* opened, const char* name) {
  RequestRecord* record = opened->record;
  record->name2_offset = session.keep_name(opened, name, &record->name2_bytes);
}

Opened begin_named(fuse_req_t request, Operation operation, fuse_ino_t parent, const char* name) {
  Session& session = session_of(request);
  Opened opened = session.begin(request, operation, parent);
  set_name(session, &opened, name);
  return opened;
}

// An operation on an open file or directory.
Opened begin_open(fuse_req_t request, Operation operation, fuse_ino_t node,
                  const fuse_file_info* info) {
  Opened opened = session_of(request).begin(request, operation, node);
  if (info != nullptr) {
    opened.record->handle = info->fh;
    opened.record->flags = static_cast<uint32_t>(info->flags);
  }
  return opened;
}

void init(void* userdata, fuse_conn_info* connection) {
  static_cast<Session*>(userdata)->negotiate(connection);
}

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  begin_named(request, Operation::kLookup, parent, name);
}

void forget(fuse_req_t request, fuse_ino_t, uint64_t lookups) {
  session_of(request).count().forgets += lookups;
  fuse_reply_none(request);
}

void forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  SessionCounters& counters = session_of(request).count();
  for (size_t i = 0; i < count; i++) counters.forgets += forgets[i].nlookup;
  fuse_reply_none(request);
}

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  begin_open(request, Operation::kGetAttr, node, info);
}

// Bit 8 of `valid`: whoever writes or truncates has not CAP_FSETID.
constexpr uint32_t kDropSetId = 1 << 8;

uint32_t drop_bit(uint32_t flags, uint32_t kernel_flag) {
  return flags & kernel_flag ? kDropSetId : 0;
}

// The wire's bits from the kernel's (linux/fuse.h, FATTR_).
uint32_t valid_bits(uint32_t to_set) {
  uint32_t bits = drop_bit(to_set, FATTR_KILL_SUIDGID);
  if (to_set & FATTR_MODE) bits |= 1 << 0;
  if (to_set & FATTR_UID) bits |= 1 << 1;
  if (to_set & FATTR_GID) bits |= 1 << 2;
  if (to_set & FATTR_SIZE) bits |= 1 << 3;
  if (to_set & FATTR_ATIME) bits |= 1 << 4;
  if (to_set & FATTR_MTIME) bits |= 1 << 5;
  if (to_set & FATTR_ATIME_NOW) bits |= 1 << 6;
  if (to_set & FATTR_MTIME_NOW) bits |= 1 << 7;
  return bits;
}

// What a program may ask for has 64 bits; what is kept has 53.
int64_t clamp_seconds(int64_t seconds) {
  constexpr int64_t kMost = (int64_t{1} << 53) - 1;
  return std::clamp(seconds, -kMost, kMost);
}

void setattr(fuse_req_t request, fuse_ino_t node, struct stat* to, int to_set,
             fuse_file_info* info) {
  const uint32_t asked = session_of(request).body<fuse_setattr_in>()->valid;
  RequestRecord* record = begin_open(request, Operation::kSetAttr, node, info).record;
  record->flags = info != nullptr ? 1 : 0;
  // libfuse keeps bits to itself that it does not know.
  record->valid = valid_bits(static_cast<uint32_t>(to_set) | (asked & FATTR_KILL_SUIDGID));
  record->mode = to->st_mode;
  record->set_uid = to->st_uid;
  record->set_gid = to->st_gid;
  record->offset = static_cast<uint64_t>(to->st_size);
  record->atime_seconds = clamp_seconds(to->st_atim.tv_sec);
  record->atime_nanoseconds = static_cast<uint32_t>(to->st_atim.tv_nsec);
  record->mtime_seconds = clamp_seconds(to->st_mtim.tv_sec);
  record->mtime_nanoseconds = static_cast<uint32_t>(to->st_mtim.tv_nsec);
}

void readlink(fuse_req_t request, fuse_ino_t node) {
  session_of(request).begin(request, Operation::kReadLink, node);
}

void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  RequestRecord* record = begin_named(request, Operation::kMkNod, parent, name).record;
  record->mode = mode;
  record->umask = fuse_req_ctx(request)->umask;
  record->rdev = static_cast<uint32_t>(rdev);
}

void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  RequestRecord* record = begin_named(request, Operation::kMkDir, parent, name).record;
  record->mode = S_IFDIR | (mode & 07777);
  record->umask = fuse_req_ctx(request)->umask;
}

void unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  begin_named(request, Operation::kUnlink, parent, name);
}

void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  begin_named(request, Operation::kRmDir, parent, name);
}

void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  Opened opened = begin_named(request, Operation::kSymlink, parent, name);
  set_name2(session_of(request), &opened, target);
}

void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  Opened opened = begin_named(request, Operation::kRename, parent, name);
  Session& session = session_of(request);
  set_name2(session, &opened, new_name);
  opened.record->offset = session.inode_of(new_parent);
  opened.record->flags = flags;
}

void link(fuse_req_t request, fuse_ino_t node, fuse_ino_t new_parent, const char* new_name) {
  RequestRecord* record = begin_named(request, Operation::kLink, node, new_name).record;
  record->offset = session_of(request).inode_of(new_parent);
}

void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  const uint32_t flags = session_of(request).body<fuse_open_in>()->open_flags;
  RequestRecord* record = begin_open(request, Operation::kOpen, node, info).record;
  record->valid = drop_bit(flags, FUSE_OPEN_KILL_SUIDGID);
}

// Also O_TMPFILE: its name is one that no file can have (session.cc, receive).
void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info) {
  Session& session = session_of(request);
  const uint32_t flags = session.body<fuse_create_in>()->open_flags;
  const bool nameless = strcmp(name, "/") == 0;
  RequestRecord* record = nameless ? session.begin(request, Operation::kTmpFile, parent).record
                                   : begin_named(request, Operation::kCreate, parent, name).record;
  record->valid = drop_bit(flags, FUSE_OPEN_KILL_SUIDGID);
  record->mode = mode;
  record->umask = fuse_req_ctx(request)->umask;
  record->flags = static_cast<uint32_t>(info->flags);
}

void read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info) {
  RequestRecord* record = begin_open(request, Operation::kRead, node, info).record;
  record->offset = static_cast<uint64_t>(offset);
  record->size_bytes = static_cast<uint32_t>(size);
}

void write(fuse_req_t request, fuse_ino_t node, const char* data, size_t size, off_t offset,
           fuse_file_info* info) {
  const uint32_t flags = session_of(request).body<fuse_write_in>()->write_flags;
  const Opened opened = begin_open(request, Operation::kWrite, node, info);
  opened.record->valid = drop_bit(flags, FUSE_WRITE_KILL_SUIDGID);
  opened.record->offset = static_cast<uint64_t>(offset);
  session_of(request).keep_data(opened, data, static_cast<uint32_t>(size));
}

// A close releases the fcntl(2) locks of its process, and only this request says so.
void flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  if (session_of(request).wants_flush()) {
    begin_open(request, Operation::kFlush, node, info).record->lock_owner = info->lock_owner;
  } else {
    fuse_reply_err(request, ENOSYS);  // the kernel asks no more
  }
}

// Bit 9 of `valid`.
constexpr uint32_t kFlockGoes = 1 << 9;

void release(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  RequestRecord* record = begin_open(request, Operation::kRelease, node, info).record;
  record->lock_owner = info->lock_owner;
  record->valid = info->flock_release ? kFlockGoes : 0;
}

// GETLK, SETLK, SETLKW, from the request's own struct: it is one for fcntl(2) and flock(2), which
// libfuse parts.
RequestRecord* begin_lock(fuse_req_t request, Operation operation, fuse_ino_t node) {
  const auto* asked = session_of(request).body<fuse_lk_in>();
  RequestRecord* record = session_of(request).begin(request, operation, node).record;
  record->handle = asked->fh;
  record->lock_owner = asked->owner;
  record->flags = asked->lk_flags & FUSE_LK_FLOCK ? 1 : 0;
  record->offset = lock_offset(asked->lk.start);
  record->lock_end = lock_offset(asked->lk.end);
  record->lock_type = asked->lk.type;
  record->lock_pid = asked->lk.pid;
  return record;
}

void getlk(fuse_req_t request, fuse_ino_t node, fuse_file_info*, struct flock*) {
  begin_lock(request, Operation::kGetLock, node);
}

void set_lock(fuse_req_t request, fuse_ino_t node, bool wait) {
  if (!wait) {
    begin_lock(request, Operation::kSetLock, node);
  } else if (session_of(request).may_wait_for_lock()) {
    begin_lock(request, Operation::kSetLockWait, node);
  } else {
    fuse_reply_err(request, ENOLCK);
  }
}

void setlk(fuse_req_t request, fuse_ino_t node, fuse_file_info*, struct flock*, int wait) {
  set_lock(request, node, wait != 0);
}

void flock(fuse_req_t request, fuse_ino_t node, fuse_file_info*, int how) {
  set_lock(request, node, (how & LOCK_NB) == 0);
}

void fsync(fuse_req_t request, fuse_ino_t node, int data_only, fuse_file_info* info) {
  begin_open(request, Operation::kFsync, node, info).record->flags = data_only != 0;
}

void opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  begin_open(request, Operation::kOpenDir, node, info);
}

void list(fuse_req_t request, Operation operation, fuse_ino_t node, size_t size, off_t offset,
          fuse_file_info* info) {
  RequestRecord* record = begin_open(request, operation, node, info).record;
  const uint64_t from = static_cast<uint64_t>(offset);
  record->size_bytes = static_cast<uint32_t>(size);
  record->dots_left = dots_behind(from);
  record->offset = wire_cookie(from);
}

void readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info) {
  list(request, Operation::kReadDir, node, size, offset, info);
}

void readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
                 fuse_file_info* info) {
  list(request, Operation::kReadDirPlus, node, size, offset, info);
}

void releasedir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
  begin_open(request, Operation::kReleaseDir, node, info);
}

void fsyncdir(fuse_req_t request, fuse_ino_t node, int data_only, fuse_file_info* info) {
  begin_open(request, Operation::kFsyncDir, node, info).record->flags = data_only != 0;
}

void statfs(fuse_req_t request, fuse_ino_t node) {
  session_of(request).begin(request, Operation::kStatFs, node);
}

void fallocate(fuse_req_t request, fuse_ino_t node, int mode, off_t offset, off_t length,
               fuse_file_info* info) {
  RequestRecord* record = begin_open(request, Operation::kFallocate, node, info).record;
  record->mode = static_cast<uint32_t>(mode);
  record->offset = static_cast<uint64_t>(offset);
  record->length_bytes = static_cast<uint64_t>(length);
}

void seek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence, fuse_file_info* info) {
  RequestRecord* record = begin_open(request, Operation::kSeek, node, info).record;
  record->flags = static_cast<uint32_t>(whence);
  record->offset = static_cast<uint64_t>(offset);
}

void copy_file_range(fuse_req_t request, fuse_ino_t node, off_t offset, fuse_file_info* info,
                     fuse_ino_t, off_t other_offset, fuse_file_info* other, size_t length, int) {
  RequestRecord* record = begin_open(request, Operation::kCopyFileRange, node, info).record;
  record->offset = static_cast<uint64_t>(offset);
  record->other_handle = other->fh;
  record->other_offset = static_cast<uint64_t>(other_offset);
  record->length_bytes = length;
}

// libfuse knows the older, shorter struct alone.
void setxattr(fuse_req_t request, fuse_ino_t node, const char*, const char*, size_t, int) {
  Session& session = session_of(request);
  const auto* asked = session.body<fuse_setxattr_in>();
  const bool longer = session.agreed().setxattr_flags;
  const char* name = session.body<char>() + (longer ? sizeof *asked : FUSE_COMPAT_SETXATTR_IN_SIZE);
  uint32_t flags = asked->flags & (XATTR_CREATE | XATTR_REPLACE);
  if (longer && (asked->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID)) flags |= 1 << 2;
  const uint32_t bytes = asked->size;
  Opened opened = begin_named(request, Operation::kSetXattr, node, name);
  opened.record->flags = flags;
  if (bytes != 0) session.keep_data(opened, name + strlen(name) + 1, bytes);
}

void getxattr(fuse_req_t request, fuse_ino_t node, const char* name, size_t size) {
  begin_named(request, Operation::kGetXattr, node, name).record->size_bytes =
      static_cast<uint32_t>(size);
}

void listxattr(fuse_req_t request, fuse_ino_t node, size_t size) {
  session_of(request).begin(request, Operation::kListXattr, node).record->size_bytes =
      static_cast<uint32_t>(size);
}

void removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
  begin_named(request, Operation::kRemoveXattr, node, name);
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops ops = {};
  ops.init = init;
  ops.lookup = lookup;
  ops.forget = forget;
  ops.forget_multi = forget_multi;
  ops.getattr = getattr;
  ops.setattr = setattr;
  ops.readlink = readlink;
  ops.mknod = mknod;
  ops.mkdir = mkdir;
  ops.unlink = unlink;
  ops.rmdir = rmdir;
  ops.symlink = symlink;
  ops.rename = rename;
  ops.link = link;
  ops.open = open;
  ops.create = create;
  ops.read = read;
  ops.write = write;
  ops.flush = flush;
  ops.release = release;
  ops.getlk = getlk;
  ops.setlk = setlk;
  ops.flock = flock;
  ops.fsync = fsync;
  ops.opendir = opendir;
  ops.readdir = readdir;
  ops.readdirplus = readdirplus;
  ops.releasedir = releasedir;
  ops.fsyncdir = fsyncdir;
  ops.statfs = statfs;
  ops.setxattr = setxattr;
  ops.getxattr = getxattr;
  ops.listxattr = listxattr;
  ops.removexattr = removexattr;
  ops.fallocate = fallocate;
  ops.lseek = seek;
  ops.copy_file_range = copy_file_range;
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& operations() {
  static const fuse_lowlevel_ops ops = make_operations();
  return ops;
}

}  // namespace sealfs::fuse
