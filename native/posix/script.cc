// Goal and method: script.h.
#include "native/posix/script.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sealfs::posix {
namespace {

struct Name {
  const char* name;
  long value;
};

constexpr Name kNames[] = {
    {"O_RDONLY", O_RDONLY},
    {"O_WRONLY", O_WRONLY},
    {"O_RDWR", O_RDWR},
    {"O_CREAT", O_CREAT},
    {"O_EXCL", O_EXCL},
    {"O_TRUNC", O_TRUNC},
    {"O_APPEND", O_APPEND},
    {"O_DIRECTORY", O_DIRECTORY},
    {"O_NOFOLLOW", O_NOFOLLOW},
    {"O_NOATIME", O_NOATIME},
    {"O_PATH", O_PATH},
    {"O_TMPFILE", O_TMPFILE},
    {"O_DIRECT", O_DIRECT},
    {"O_SYNC", O_SYNC},
    {"O_DSYNC", O_DSYNC},
    {"O_NONBLOCK", O_NONBLOCK},
    {"R_OK", R_OK},
    {"W_OK", W_OK},
    {"X_OK", X_OK},
    {"F_OK", F_OK},
    {"SEEK_SET", SEEK_SET},
    {"SEEK_CUR", SEEK_CUR},
    {"SEEK_END", SEEK_END},
    {"SEEK_DATA", SEEK_DATA},
    {"SEEK_HOLE", SEEK_HOLE},
    {"XATTR_CREATE", XATTR_CREATE},
    {"XATTR_REPLACE", XATTR_REPLACE},
    {"RENAME_NOREPLACE", RENAME_NOREPLACE},
    {"RENAME_EXCHANGE", RENAME_EXCHANGE},
    {"RENAME_WHITEOUT", RENAME_WHITEOUT},
    {"O_ASYNC", O_ASYNC},
    {"O_NOCTTY", O_NOCTTY},
    {"MAP_SHARED", MAP_SHARED},
    {"MAP_PRIVATE", MAP_PRIVATE},
    {"PROT_READ", PROT_READ},
    {"PROT_WRITE", PROT_WRITE},
    {"PROT_EXEC", PROT_EXEC},
    {"MS_SYNC", MS_SYNC},
    {"MS_ASYNC", MS_ASYNC},
    {"MS_INVALIDATE", MS_INVALIDATE},
    {"LOCK_SH", LOCK_SH},
    {"LOCK_EX", LOCK_EX},
    {"LOCK_UN", LOCK_UN},
    {"LOCK_NB", LOCK_NB},
    {"RWF_APPEND", RWF_APPEND},
    {"RWF_DSYNC", RWF_DSYNC},
    {"RWF_SYNC", RWF_SYNC},
    {"SYNC_FILE_RANGE_WRITE", SYNC_FILE_RANGE_WRITE},
    {"SYNC_FILE_RANGE_WAIT_BEFORE", SYNC_FILE_RANGE_WAIT_BEFORE},
    {"SYNC_FILE_RANGE_WAIT_AFTER", SYNC_FILE_RANGE_WAIT_AFTER},
    {"AT_REMOVEDIR", AT_REMOVEDIR},
    {"AT_NO_AUTOMOUNT", AT_NO_AUTOMOUNT},
    {"AT_SYMLINK_FOLLOW", AT_SYMLINK_FOLLOW},
    {"AT_SYMLINK_NOFOLLOW", AT_SYMLINK_NOFOLLOW},
    {"AT_EMPTY_PATH", AT_EMPTY_PATH},
    {"AT_EACCESS", AT_EACCESS},
    {"FALLOC_FL_KEEP_SIZE", FALLOC_FL_KEEP_SIZE},
    {"FALLOC_FL_PUNCH_HOLE", FALLOC_FL_PUNCH_HOLE},
    {"FALLOC_FL_ZERO_RANGE", FALLOC_FL_ZERO_RANGE},
    {"FALLOC_FL_COLLAPSE_RANGE", FALLOC_FL_COLLAPSE_RANGE},
    {"FALLOC_FL_INSERT_RANGE", FALLOC_FL_INSERT_RANGE},
};

long value_of(const std::string& name) {
  for (const Name& known : kNames) {
    if (name == known.name) return known.value;
  }
  char* end = nullptr;
  const long value = std::strtol(name.c_str(), &end, 0);
  if (end == name.c_str() || *end != 0) refuse("no flag is called " + name);
  return value;
}

// "{x*255}" at `at`: appends the repetition and moves behind it.
bool repeat(std::string_view line, size_t* at, std::string* to) {
  const size_t close = line.find('}', *at);
  const size_t star = line.rfind('*', close);
  if (close == line.npos || star == line.npos || star <= *at) return false;
  const std::string_view text = line.substr(*at + 1, star - *at - 1);
  const long count = std::strtol(std::string(line.substr(star + 1)).c_str(), nullptr, 10);
  for (long i = 0; i < count; i++) to->append(text);
  *at = close + 1;
  return true;
}

}  // namespace

void refuse(const std::string& why) {
  std::fprintf(stderr, "sealfs_posix: %s\n", why.c_str());
  std::exit(2);
}

bool split(std::string_view line, Words* words) {
  size_t at = 0;
  while (true) {
    while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) at++;
    if (at == line.size() || line[at] == '#') return true;
    std::string text;
    bool quote = false;
    while (at < line.size() && (quote || (line[at] != ' ' && line[at] != '\t'))) {
      if (line[at] == '"') {
        quote = !quote;
        at++;
      } else if (line[at] == '{') {
        if (!repeat(line, &at, &text)) return false;
      } else {
        text.push_back(line[at++]);
      }
    }
    if (quote) return false;
    words->push_back(text);
  }
}

const std::string& word(const Words& words, size_t index) {
  static const std::string kNone;
  return index < words.size() ? words[index] : kNone;
}

long long number(const Words& words, size_t index) {
  return std::strtoll(word(words, index).c_str(), nullptr, 0);
}

long octal(const Words& words, size_t index) {
  return std::strtol(word(words, index).c_str(), nullptr, 8);
}

int descriptor(const Context& context, const std::string& text) {
  if (text.empty() || text[0] != '$')
    return static_cast<int>(std::strtol(text.c_str(), nullptr, 0));
  const auto found = context.descriptors.find(text.substr(1));
  return found == context.descriptors.end() ? -1 : found->second;
}

int directory_of(const Context& context, const std::string& text) {
  return text == "cwd" ? AT_FDCWD : descriptor(context, text);
}

long flags(const Words& words, size_t index) {
  const std::string& text = word(words, index);
  long all = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('|', at), text.size());
    all |= value_of(text.substr(at, end - at));
    at = end + 1;
  }
  return all;
}

std::string outcome(long long result) {
  if (result >= 0) return std::to_string(result);
  const char* name = strerrorname_np(errno);
  return name == nullptr ? std::to_string(errno) : name;
}

std::string quoted(std::string_view bytes) {
  std::string out = "\"";
  for (size_t at = 0; at < bytes.size();) {
    size_t run = 1;
    while (at + run < bytes.size() && bytes[at + run] == bytes[at]) run++;
    const unsigned char byte = static_cast<unsigned char>(bytes[at]);
    char shown[8];
    std::snprintf(shown, sizeof shown, byte >= 32 && byte < 127 ? "%c" : "\\x%02x", byte);
    if (run > 8) {
      out.append("{").append(shown).append("*").append(std::to_string(run)).append("}");
      at += run;
    } else {
      out += shown;
      at++;
    }
  }
  out.push_back('"');
  return out;
}

std::string joined(const Words& words) {
  std::string all = "[";
  for (const std::string& each : words) {
    if (all.size() > 1) all.push_back(' ');
    all.append(each);
  }
  all.push_back(']');
  return all;
}

std::string outcome_bytes(long long result, const char* bytes) {
  if (result <= 0) return outcome(result);
  return outcome(result) + " " + quoted({bytes, static_cast<size_t>(result)});
}

}  // namespace sealfs::posix
