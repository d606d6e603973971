// Goal: the same system calls on two file systems, compared line by line (test/posix). Method: a
// script of one call a line is read from standard input and run in the current directory; each
// line is answered with one line: a number, an errno's name, or what the call shows. Nothing in an
// answer depends on when or where it ran (inode numbers, present times), so answers can be
// compared.
//
//   line:   [PREFIX…] [VARIABLE=] CALL ARGUMENT…      # comment
//   prefix: as UID:GID[:GROUP,GROUP…]   as this user
//           child                       in a process of its own that ends with the call
//           hold NAME                   in a process that lives on until `release NAME`
//           try                         answers also what the call did to the fixture
//                                       (fixture_calls.cc), which is then put right again
//   word:   anything without blanks, or "with blanks"; {x*255}: 255 times x; $VARIABLE: a
//   descriptor
//
// Calls are grouped by subject, one file each; a new file adds its table in main.cc.
#pragma once

#include <dirent.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sealfs::posix {

// File times of one moment, to see later which of them a call has changed.
struct Snapshot {
  long long atime[2];
  long long mtime[2];
  long long ctime[2];
};

// An open directory stream, what was read of it since the last `dseen`, and places in it.
struct Stream {
  DIR* directory = nullptr;
  std::vector<std::string> seen;
  std::map<std::string, long> marks;
};

struct Mapping {
  char* at = nullptr;
  size_t bytes = 0;
};

// An inotify instance; names of what it watches, by watch number.
struct Watcher {
  int fd = -1;
  std::map<int, std::string> watched;
};

struct Context {
  std::map<std::string, int> descriptors;
  std::map<std::string, Snapshot> snapshots;
  std::map<std::string, Stream> streams;
  std::map<std::string, Mapping> mappings;
  std::map<std::string, Watcher> watchers;
  std::map<std::string, pid_t> holders;         // by name: processes that live on
  std::map<std::string, std::string> baseline;  // of the fixture: path to description
};

using Words = std::vector<std::string>;
// `words[0]` is the call's name. Returns the answer.
using Call = std::string (*)(Context& context, const Words& words);

struct Entry {
  const char* name;
  size_t words_min;  // with the name
  Call call;
};
using Table = std::vector<Entry>;

// Splits a line; false: a quotation mark or brace is not closed.
bool split(std::string_view line, Words* words);

// Word `index`, "" behind the end.
const std::string& word(const Words& words, size_t index);
// As strtoll reads it; octal with a leading 0.
long long number(const Words& words, size_t index);
long octal(const Words& words, size_t index);
// "$name" to its descriptor, a number to itself; -1: unknown.
int descriptor(const Context& context, const std::string& text);
// The same for the `at` calls: "cwd" is AT_FDCWD.
int directory_of(const Context& context, const std::string& text);
// Names joined by '|', or a number; unknown names end the program.
long flags(const Words& words, size_t index);

// The errno's name when `result` is negative, else the number.
std::string outcome(long long result);
// The same for a call that has read bytes: their count and the bytes, long runs shortened.
std::string outcome_bytes(long long result, const char* bytes);
std::string quoted(std::string_view bytes);
// "[one two]"
std::string joined(const Words& words);

[[noreturn]] void refuse(const std::string& why);

// Makes right what a call has done to the fixture; "[-gone +new ~changed]", "" when nothing was.
std::string mend_fixture(Context& context);

Table file_calls();
Table name_calls();
Table at_calls();
Table attribute_calls();
Table directory_calls();
Table fixture_calls();
Table io_calls();
Table lock_calls();
Table map_calls();
Table space_calls();
Table watch_calls();
Table xattr_calls();

}  // namespace sealfs::posix
