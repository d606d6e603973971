// Goal, method and cookies: directory.h.
#include "native/fuse/directory.h"

#include <sys/stat.h>

#include <cstring>

namespace sealfs::fuse {
namespace {

struct stat to_stat(const wire::Attributes& from) {
  struct stat to = {};
  to.st_ino = from.inode;
  to.st_mode = from.mode;
  to.st_nlink = from.link_count;
  to.st_uid = from.uid;
  to.st_gid = from.gid;
  to.st_rdev = from.rdev;
  to.st_size = static_cast<off_t>(from.size_bytes);
  to.st_blksize = wire::kBlockBytes;
  to.st_blocks = static_cast<blkcnt_t>(from.blocks);
  to.st_atim = {from.atime_seconds, from.atime_nanoseconds};
  to.st_mtim = {from.mtime_seconds, from.mtime_nanoseconds};
  to.st_ctim = {from.ctime_seconds, from.ctime_nanoseconds};
  return to;
}

class Packer {
 public:
  Packer(const Listing& listing, char* out, size_t out_bytes)
      : listing_(listing), out_(out), room_(out_bytes) {}

  // False: it did not fit.
  bool add(const char* name, const fuse_entry_param& entry, uint64_t next) {
    char* at = out_ + used_;
    const size_t room = room_ - used_;
    const size_t needed = listing_.plus ? fuse_add_direntry_plus(listing_.request, at, room, name,
                                                                 &entry, static_cast<off_t>(next))
                                        : fuse_add_direntry(listing_.request, at, room, name,
                                                            &entry.attr, static_cast<off_t>(next));
    if (needed > room) return false;
    used_ += needed;
    return true;
  }

  bool add_dot(const char* name, uint64_t inode, uint64_t next) {
    fuse_entry_param entry = {};  // node 0: no lookup is counted
    entry.attr.st_ino = inode;
    entry.attr.st_mode = S_IFDIR;
    return add(name, entry, next);
  }

  size_t used() const { return used_; }

 private:
  const Listing& listing_;
  char* out_;
  size_t room_;
  size_t used_ = 0;
};

}  // namespace

ptrdiff_t pack_directory(const Listing& listing, const uint8_t* records, size_t bytes, char* out,
                         size_t out_bytes) {
  Packer packer(listing, out, out_bytes);
  if (listing.dots >= 2 && !packer.add_dot(".", listing.inode, 1)) return packer.used();
  if (listing.dots >= 1 && !packer.add_dot("..", listing.parent, kDots)) return packer.used();
  ListingCursor cursor(records, bytes);
  while (cursor.next()) {
    const wire::DirEntry& record = cursor.entry();
    fuse_entry_param entry = {};
    entry.attr.st_ino = record.inode;
    entry.attr.st_mode = record.mode;
    if (cursor.has_attributes()) {
      entry.ino = record.inode == listing.root ? FUSE_ROOT_ID : record.inode;
      entry.attr = to_stat(cursor.attributes());
      entry.entry_timeout = listing.timeouts.entry_ms / 1000.0;
      entry.attr_timeout = listing.timeouts.attributes_ms / 1000.0;
    }
    if (!packer.add(cursor.name(), entry, record.cookie + kDots)) break;
  }
  if (cursor.malformed()) return -1;
  return static_cast<ptrdiff_t>(packer.used());
}

void to_kernel_attributes(const wire::Attributes& from, fuse_attr* to) {
  *to = {};
  to->ino = from.inode;
  to->size = from.size_bytes;
  to->blocks = from.blocks;
  to->atime = static_cast<uint64_t>(from.atime_seconds);
  to->mtime = static_cast<uint64_t>(from.mtime_seconds);
  to->ctime = static_cast<uint64_t>(from.ctime_seconds);
  to->atimensec = from.atime_nanoseconds;
  to->mtimensec = from.mtime_nanoseconds;
  to->ctimensec = from.ctime_nanoseconds;
  to->mode = from.mode;
  to->nlink = from.link_count;
  to->uid = from.uid;
  to->gid = from.gid;
  to->rdev = from.rdev;
  to->blksize = wire::kBlockBytes;
}

void to_kernel_entry(const wire::Attributes& from, uint64_t root, const Timeouts& timeouts,
                     fuse_entry_out* to) {
  *to = {};
  to->nodeid = from.inode == root ? FUSE_ROOT_ID : from.inode;
  to->entry_valid = timeouts.entry_ms / 1000;
  to->entry_valid_nsec = timeouts.entry_ms % 1000 * 1000000;
  to->attr_valid = timeouts.attributes_ms / 1000;
  to->attr_valid_nsec = timeouts.attributes_ms % 1000 * 1000000;
  to_kernel_attributes(from, &to->attr);
}

}  // namespace sealfs::fuse
