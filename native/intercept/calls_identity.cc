// Goal: calls after which this process is somebody else, or lives elsewhere, or has changed where
// paths lead: who it was when it attached, and what it has seen, no longer say where its paths may
// go, so from then on they are the kernel's.
// Descriptors stay what they are, as with the kernel.
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/types.h>
#include <unistd.h>

#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/places.h"

namespace sealfs::intercept {
namespace {

// Before the call: another thread must not look at a path as who we were.
template <typename Result, typename... Arguments>
Result change(Next<Result(Arguments...)>* next, Arguments... arguments) {
  places::stop();
  return (*next)(arguments...);
}

Next<int(uid_t)> next_setuid{"setuid"};
Next<int(uid_t)> next_seteuid{"seteuid"};
Next<int(uid_t, uid_t)> next_setreuid{"setreuid"};
Next<int(uid_t, uid_t, uid_t)> next_setresuid{"setresuid"};
Next<int(gid_t)> next_setgid{"setgid"};
Next<int(gid_t)> next_setegid{"setegid"};
Next<int(gid_t, gid_t)> next_setregid{"setregid"};
Next<int(gid_t, gid_t, gid_t)> next_setresgid{"setresgid"};
Next<int(size_t, const gid_t*)> next_setgroups{"setgroups"};
Next<int(const char*, gid_t)> next_initgroups{"initgroups"};
Next<int(uid_t)> next_setfsuid{"setfsuid"};
Next<int(gid_t)> next_setfsgid{"setfsgid"};
Next<int(void*, const void*)> next_capset{"capset"};
Next<int(int)> next_unshare{"unshare"};
Next<int(int, int)> next_setns{"setns"};
Next<int(const char*)> next_chroot{"chroot"};
Next<int(const char*, const char*, const char*, unsigned long, const void*)> next_mount{"mount"};
Next<int(const char*)> next_umount{"umount"};
Next<int(const char*, int)> next_umount2{"umount2"};

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int setuid(uid_t id) noexcept { return change(&next_setuid, id); }
SEALFS_ENTRY int seteuid(uid_t id) noexcept { return change(&next_seteuid, id); }
SEALFS_ENTRY int setreuid(uid_t real, uid_t effective) noexcept {
  return change(&next_setreuid, real, effective);
}
SEALFS_ENTRY int setresuid(uid_t real, uid_t effective, uid_t saved) noexcept {
  return change(&next_setresuid, real, effective, saved);
}
SEALFS_ENTRY int setgid(gid_t id) noexcept { return change(&next_setgid, id); }
SEALFS_ENTRY int setegid(gid_t id) noexcept { return change(&next_setegid, id); }
SEALFS_ENTRY int setregid(gid_t real, gid_t effective) noexcept {
  return change(&next_setregid, real, effective);
}
SEALFS_ENTRY int setresgid(gid_t real, gid_t effective, gid_t saved) noexcept {
  return change(&next_setresgid, real, effective, saved);
}
SEALFS_ENTRY int setgroups(size_t count, const gid_t* groups) noexcept {
  return change(&next_setgroups, count, groups);
}
SEALFS_ENTRY int initgroups(const char* user, gid_t group) {
  return change(&next_initgroups, user, group);
}
SEALFS_ENTRY int setfsuid(uid_t id) noexcept { return change(&next_setfsuid, id); }
SEALFS_ENTRY int setfsgid(gid_t id) noexcept { return change(&next_setfsgid, id); }
SEALFS_ENTRY int capset(void* header, const void* data) noexcept {
  return change(&next_capset, header, data);
}
SEALFS_ENTRY int unshare(int flags) noexcept { return change(&next_unshare, flags); }
SEALFS_ENTRY int setns(int fd, int type) noexcept { return change(&next_setns, fd, type); }
SEALFS_ENTRY int chroot(const char* path) noexcept { return change(&next_chroot, path); }
SEALFS_ENTRY int mount(const char* source, const char* target, const char* type,
                       unsigned long flags, const void* data) noexcept {
  return change(&next_mount, source, target, type, flags, data);
}
SEALFS_ENTRY int umount(const char* target) noexcept { return change(&next_umount, target); }
SEALFS_ENTRY int umount2(const char* target, int flags) noexcept {
  return change(&next_umount2, target, flags);
}
