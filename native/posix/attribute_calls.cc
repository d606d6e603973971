// Calls that show and change attributes: mode, owner, times.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// Beyond the granularity of any file system's clock: a tick of the kernel's, at most 10 ms.
constexpr useconds_t kTickMicroseconds = 12000;

const char* type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "char";
    case S_IFBLK:
      return "block";
    default:
      return "unknown";
  }
}

std::string time_text(const timespec& time) {
  char text[48];
  std::snprintf(text, sizeof text, "%lld.%09ld", static_cast<long long>(time.tv_sec), time.tv_nsec);
  return text;
}

std::string mode_text(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof text, "%04o", mode & 07777);
  return text;
}

std::string field_of(const struct stat& status, const std::string& field) {
  if (field == "type") return type_of(status.st_mode);
  if (field == "mode") return mode_text(status.st_mode);
  if (field == "nlink") return std::to_string(status.st_nlink);
  if (field == "uid") return std::to_string(status.st_uid);
  if (field == "gid") return std::to_string(status.st_gid);
  if (field == "size") return std::to_string(status.st_size);
  if (field == "blocks") return std::to_string(status.st_blocks);
  if (field == "atime") return time_text(status.st_atim);
  if (field == "mtime") return time_text(status.st_mtim);
  if (field == "rdev") {
    return std::to_string(major(status.st_rdev)) + ":" + std::to_string(minor(status.st_rdev));
  }
  refuse("no field is called " + field);
}

// "type,mode,…" of the status, or the errno of the call that was to get it.
std::string show(int result, const struct stat& status, const std::string& fields) {
  if (result != 0) return outcome(result);
  std::string all;
  for (size_t at = 0; at < fields.size();) {
    const size_t end = std::min(fields.find(',', at), fields.size());
    if (!all.empty()) all.push_back(' ');
    all.append(field_of(status, fields.substr(at, end - at)));
    at = end + 1;
  }
  return all;
}

// stat PATH FIELD,FIELD…
std::string call_stat(Context&, const Words& words) {
  struct stat status {};
  return show(stat(words[1].c_str(), &status), status, words[2]);
}

std::string call_lstat(Context&, const Words& words) {
  struct stat status {};
  return show(lstat(words[1].c_str(), &status), status, words[2]);
}

// fstat FD FIELD,FIELD…
std::string call_fstat(Context& context, const Words& words) {
  struct stat status {};
  return show(fstat(descriptor(context, words[1]), &status), status, words[2]);
}

Snapshot snapshot_of(const struct stat& status) {
  return {{status.st_atim.tv_sec, status.st_atim.tv_nsec},
          {status.st_mtim.tv_sec, status.st_mtim.tv_nsec},
          {status.st_ctim.tv_sec, status.st_ctim.tv_nsec}};
}

// snap PATH…: remembers the times; what follows happens at least a clock's tick later
std::string call_snap(Context& context, const Words& words) {
  std::string answer;
  for (size_t i = 1; i < words.size(); i++) {
    struct stat status {};
    const int result = lstat(words[i].c_str(), &status);
    if (result == 0) context.snapshots[words[i]] = snapshot_of(status);
    answer.append(i > 1 ? " " : "").append(outcome(result));
  }
  usleep(kTickMicroseconds);
  return answer;
}

const char* compare(const long long before[2], const long long now[2]) {
  if (before[0] == now[0] && before[1] == now[1]) return "same";
  return now[0] > before[0] || (now[0] == before[0] && now[1] > before[1]) ? "later" : "earlier";
}

// changed PATH [SNAPPED]: which times differ from the last snap (of another path)
std::string call_changed(Context& context, const Words& words) {
  struct stat status {};
  if (lstat(words[1].c_str(), &status) != 0) return outcome(-1);
  const auto found = context.snapshots.find(words.size() > 2 ? words[2] : words[1]);
  if (found == context.snapshots.end()) refuse("no snap of " + words[1]);
  const Snapshot now = snapshot_of(status);
  const Snapshot& before = found->second;
  return std::string("atime ") + compare(before.atime, now.atime) + ", mtime " +
         compare(before.mtime, now.mtime) + ", ctime " + compare(before.ctime, now.ctime);
}

// recent PATH: whether all three times are within a minute of now
std::string call_recent(Context&, const Words& words) {
  struct stat status {};
  if (lstat(words[1].c_str(), &status) != 0) return outcome(-1);
  const time_t now = time(nullptr);
  for (const timespec& each : {status.st_atim, status.st_mtim, status.st_ctim}) {
    if (each.tv_sec < now - 60 || each.tv_sec > now + 60) return "no";
  }
  return "yes";
}

std::string call_chmod(Context&, const Words& words) {
  return outcome(chmod(words[1].c_str(), static_cast<mode_t>(octal(words, 2))));
}

std::string call_fchmod(Context& context, const Words& words) {
  return outcome(fchmod(descriptor(context, words[1]), static_cast<mode_t>(octal(words, 2))));
}

// chown PATH UID GID; -1: as it is
std::string call_chown(Context&, const Words& words) {
  return outcome(chown(words[1].c_str(), static_cast<uid_t>(number(words, 2)),
                       static_cast<gid_t>(number(words, 3))));
}

std::string call_lchown(Context&, const Words& words) {
  return outcome(lchown(words[1].c_str(), static_cast<uid_t>(number(words, 2)),
                        static_cast<gid_t>(number(words, 3))));
}

std::string call_fchown(Context& context, const Words& words) {
  return outcome(fchown(descriptor(context, words[1]), static_cast<uid_t>(number(words, 2)),
                        static_cast<gid_t>(number(words, 3))));
}

// access PATH MODE [FLAGS]
std::string call_access(Context&, const Words& words) {
  return outcome(faccessat(AT_FDCWD, words[1].c_str(), static_cast<int>(flags(words, 2)),
                           static_cast<int>(flags(words, 3))));
}

// "now", "omit", or seconds with up to nine decimals; "-1.5" is 1.5 s before 1970.
timespec parse_time(const std::string& text) {
  if (text == "now") return {0, UTIME_NOW};
  if (text == "omit") return {0, UTIME_OMIT};
  char* at = nullptr;
  timespec time = {std::strtoll(text.c_str(), &at, 10), 0};
  if (*at != '.') return time;
  std::string digits = at + 1;
  digits.resize(9, '0');
  time.tv_nsec = std::strtol(digits.c_str(), nullptr, 10);
  if (text[0] == '-' && time.tv_nsec != 0) {
    time.tv_sec--;
    time.tv_nsec = 1000000000 - time.tv_nsec;
  }
  return time;
}

// utimens PATH ATIME MTIME [FLAGS]
std::string call_utimens(Context&, const Words& words) {
  const timespec times[2] = {parse_time(words[2]), parse_time(words[3])};
  return outcome(utimensat(AT_FDCWD, words[1].c_str(), times, static_cast<int>(flags(words, 4))));
}

// futimens FD ATIME MTIME
std::string call_futimens(Context& context, const Words& words) {
  const timespec times[2] = {parse_time(words[2]), parse_time(words[3])};
  return outcome(futimens(descriptor(context, words[1]), times));
}

// namemax PATH: what statvfs says
std::string call_namemax(Context&, const Words& words) {
  struct statvfs status {};
  const int result = statvfs(words[1].c_str(), &status);
  return result != 0 ? outcome(result) : std::to_string(status.f_namemax);
}

}  // namespace

Table attribute_calls() {
  return {
      {"stat", 3, call_stat},       {"lstat", 3, call_lstat},       {"fstat", 3, call_fstat},
      {"snap", 2, call_snap},       {"changed", 2, call_changed},   {"recent", 2, call_recent},
      {"chmod", 3, call_chmod},     {"fchmod", 3, call_fchmod},     {"chown", 4, call_chown},
      {"lchown", 4, call_lchown},   {"fchown", 4, call_fchown},     {"access", 3, call_access},
      {"utimens", 4, call_utimens}, {"futimens", 4, call_futimens}, {"namemax", 2, call_namemax},
  };
}

}  // namespace sealfs::posix
